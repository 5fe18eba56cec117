from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.kafka.admin import Admin
from app.kafka.records import Record
from app.settings import KafkaSettings
from app.wiring import listening, unheard
from app.wiring.unheard import Unheard


class Workers:
    """What the workers count, by port, and the events in Kafka."""

    def __init__(self) -> None:
        self.counts: dict[int, tuple[int, int]] = {}
        self.events: list[Record] = []
        self.facts: list[Record] = []

    def metrics(self, _host: str, port: int) -> str:
        duplicates, unmatched = self.counts[port]
        return (
            f"# HELP x\nheadgate_events_duplicate_total {duplicates}.0\nheadgate_events_unmatched_total {unmatched}.0\n"
        )

    def waits(self, what: object, fact: str = "step_waiting") -> None:
        value = orjson.dumps({"fact": fact, "what": what})
        self.fact(value)

    def fact(self, value: bytes) -> None:
        self.facts.append(
            Record(topic="headgate.runs", partition=0, offset=0, timestamp_ms=0, key=None, value=value, headers=())
        )

    def sent(self, topic: str, *, at_ms: int | None = None, by: str | None = None) -> None:
        self.events.append(
            Record(
                topic="headgate.events",
                partition=0,
                offset=len(self.events),
                timestamp_ms=unheard._now_ms() if at_ms is None else at_ms,
                key=None,
                value=b'{"topic":"%b","data":1}' % topic.encode(),
                headers=() if by is None else (("source", f"headgate/sources/{by}".encode()),),
            )
        )


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()

    class FakeReader:
        def __init__(self, _kafka: object, _admin: object, topic: str, *, from_start: bool, last: int) -> None:
            assert not from_start
            self.records, most = {
                "headgate.events": (made.events, unheard.LAST),
                "headgate.runs": (made.facts, unheard.LAST_FACTS),
            }[topic]
            assert last == most

        def __enter__(self) -> "FakeReader":
            return self

        def __exit__(self, *_: object) -> None: ...

        def existing(self) -> Iterator[Record]:
            return iter(self.records)

    known: dict[str, dict[str, Any]] = {"a": {"triggers": ["people/joined"]}}
    monkeypatch.setattr(Admin, "connect", lambda _kafka: None)
    monkeypatch.setattr(listening, "announcements", lambda *_: known)
    monkeypatch.setattr(unheard, "_metrics", made.metrics)
    monkeypatch.setattr(unheard, "Reader", FakeReader)
    return made


def test_what_came_to_nothing_is_told_once_with_its_topics(workers: Workers) -> None:
    said: list[str] = []
    watch = Unheard(said.append)
    workers.counts = {1: (0, 0), 2: (0, 0)}
    watch.look(KafkaSettings(), workers.counts)
    assert said == []
    for topic in ("peple/joined", "x", "people/joined", "x"):
        workers.sent(topic)
    workers.sent("long/ago", at_ms=0)
    workers.counts = {1: (1, 2), 2: (1, 1)}
    watch.look(KafkaSettings(), workers.counts)
    assert said == [
        "2 events dropped as duplicates: the ids were seen before",
        "3 events matched no workflow: x, peple/joined (did you mean people/joined?)",
    ]
    watch.look(KafkaSettings(), workers.counts)
    assert len(said) == 2
    workers.sent("y")
    workers.counts = {1: (2, 3), 2: (1, 1)}
    watch.look(KafkaSettings(), workers.counts)
    assert said[2:] == [
        "1 event dropped as duplicates: the ids were seen before",
        "1 event matched no workflow: y",
    ]


def test_a_worker_that_counts_anew_is_counted_from_there(workers: Workers) -> None:
    said: list[str] = []
    watch = Unheard(said.append)
    workers.counts = {1: (5, 0)}
    watch.look(KafkaSettings(), [1])
    workers.counts = {1: (0, 0)}
    watch.look(KafkaSettings(), [1])
    workers.counts = {1: (2, 0)}
    watch.look(KafkaSettings(), [1])
    assert said == [f"{n} events dropped as duplicates: the ids were seen before" for n in (5, 2)]


def test_a_source_that_nobody_listens_to_is_told_of_once(workers: Workers) -> None:
    said: list[str] = []
    watch = Unheard(said.append)
    workers.counts = {1: (0, 0)}
    watch.look(KafkaSettings(), [1])
    for topic in ("trades/a", "trades/b"):
        workers.sent(topic, by="trades")
    workers.sent("news/item", by="news")
    workers.sent("run-12ab/answer", by="run-12ab")
    workers.sent("x")
    workers.counts = {1: (0, 5)}
    watch.look(KafkaSettings(), [1])
    assert said == [
        "events of source news match no workflow: news/item (told once)",
        "events of source trades match no workflow: trades/a (told once)",
        "1 event matched no workflow: x",
    ]
    workers.sent("trades/c", by="trades")
    workers.counts = {1: (0, 6)}
    watch.look(KafkaSettings(), [1])
    assert len(said) == 3


def test_what_a_run_waits_for_has_not_come_to_nothing(workers: Workers) -> None:
    said: list[str] = []
    watch = Unheard(said.append)
    workers.waits("wait_for_event topic='order.*.approved' event_key=None")
    workers.waits("wait_for_event topic='a' event_key=None", fact="step_finished")
    for odd in (None, 7, "topic=", {"topic": "b"}):
        workers.waits(odd)
    workers.fact(b'"step_waiting')
    workers.counts = {1: (0, 0)}
    watch.look(KafkaSettings(), [1])
    workers.sent("order.3.approved")
    workers.sent("order.4.approved", by="shop")
    workers.counts = {1: (0, 2)}
    watch.look(KafkaSettings(), [1])
    assert said == []
    for topic in ("order.3.approved", "a"):
        workers.sent(topic)
    workers.counts = {1: (0, 4)}
    watch.look(KafkaSettings(), [1])
    assert said == ["1 event matched no workflow: a"]

"""app.wiring.explaining: what is read of Kafka for one question. What follows from it: app.ui.explanation."""

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from app.gateway.explain import CannotExplain
from app.kafka import records
from app.kafka.admin import Admin
from app.kafka.clients import KafkaUnreachable
from app.kafka.records import Record
from app.settings import Settings
from app.wiring import listening
from app.wiring.explaining import OneAtATime, Reader, TookTooLong, span_ms
from app.wiring.listening import Heard, Worker
from topics import codec, journal, keys
from topics.journal import FENCE_HEADER
from topics.timestamps import rfc3339

AT = 1_769_860_800_000
PARTITIONS = 8
PLACE: dict[str, Any] = {"partition": 0, "offset": 5, "timestamp_ms": AT, "max_bytes": None}
Logs = dict[str, list[Record]]


class FakeAdmin:
    """Says how many partitions each topic has."""

    def topics(self, names: list[str]) -> dict[str, Any]:
        return {name: SimpleNamespace(partitions=PARTITIONS) for name in names}


def produced(offset: int = 5, partition: int = 0, **given: Any) -> Record:
    key, value, headers = codec.produce_form("orders/created", 1, **({"event_id": "e1", "key": "k"} | given))
    return record("events", value, key, partition=partition, offset=offset, headers=tuple(headers))


def record(topic: str, value: bytes | None, key: bytes | None = None, **given: Any) -> Record:
    about: dict[str, Any] = {"partition": 0, "offset": 0, "timestamp_ms": AT, "headers": ()} | given
    return Record(topic=f"headgate.{topic}", key=key, value=value, **about)


@pytest.fixture
def settings() -> Settings:
    return Settings.load({}, dev=True, environ={})


@pytest.fixture
def read() -> list[str]:
    """What was read, in order."""
    return []


@pytest.fixture
def logs(read: list[str], monkeypatch: pytest.MonkeyPatch) -> Logs:
    made: Logs = {}

    def since(_kafka: object, _admin: object, topic: str, _at_ms: int) -> Iterator[Record]:
        read.append(topic.removeprefix("headgate."))
        yield from made.get(topic, [])

    def whole(_kafka: object, _admin: object, topic: str, *, partition: int) -> Iterator[Record]:
        read.append(f"{topic.removeprefix('headgate.')} {partition}")
        yield from [one for one in made.get(topic, []) if one.partition == partition]

    monkeypatch.setattr(records, "since", since)
    monkeypatch.setattr(records, "whole", whole)
    flows = {
        "w": {"triggers": ["orders/*"], "has_filter": True},
        "batched": {"triggers": ["orders/*"], "batch_size": 2, "batch_by": "workflow"},
        "other": {"triggers": ["payments/*"], "batch_size": 2, "batch_by": "workflow"},
    }
    worker = Worker(instance_id="w-0", workflows=dict.fromkeys(flows, "1"), silent_seconds=0)
    heard = Heard(workflows=flows, workers=[worker])
    monkeypatch.setattr(listening, "heard", lambda _kafka, _admin, **_given: heard)
    return made


def _parts(one: Record) -> tuple[bytes | None, bytes | None, Any]:
    return one.value, one.key, one.headers


def reader(settings: Settings, **given: Any) -> Reader:
    return Reader(settings=settings, admin=FakeAdmin(), now_ms=AT, **given)  # type: ignore[arg-type]


def test_the_journals_of_the_events_way_are_read_before_what_came_of_it(
    logs: Logs, read: list[str], settings: Settings
) -> None:
    home, gathers = keys.partition_of(b"k", PARTITIONS), keys.partition_of(b"batched", PARTITIONS)
    landed = next(one for one in range(PARTITIONS) if one not in (home, gathers))
    logs["headgate.events"] = [produced(partition=landed)]
    reader(settings).explain("e1", since_ms=1000)
    way = [f"journal {landed}", f"journal {home}", f"journal {gathers}"]
    assert (read[:4], sorted(read[4:])) == (["events", *way], ["dlq", "results", "runs"])


def test_a_filter_that_refused_is_told_from_one_that_was_not_asked(logs: Logs, settings: Settings) -> None:
    home = keys.partition_of(b"k", PARTITIONS)
    logs["headgate.events"] = [produced(5, home), produced(7, home, event_id="e2")]
    claim = record("journal", journal.encode({"topics": {"journal": "j"}}), journal.CLAIM, partition=home)
    kill = record("journal", b"not JSON", journal.CLAIM, partition=home, headers=((FENCE_HEADER, b""),))
    known = record("journal", journal.encode({"since": {"w": 0}}), journal.KNOWN, partition=home)
    head = record("journal", journal.encode({"r": 1, "events": 6}), journal.HEAD, partition=home)
    logs["headgate.journal"] = [claim, known, head, kill]
    became = {}
    for event_id in ("e1", "e2"):
        [found] = reader(settings).explain(event_id, since_ms=1000)
        became[event_id] = {one["workflow"]: one["became"] for one in found["workflows"]}["w"]
    assert became == {"e1": "filtered", "e2": "not handled"}


@pytest.mark.parametrize(
    ("since_ms", "waits_from"),
    [
        (1_000, "2026-01-31T11:59:00.000Z"),
        (86_400_000, "2026-01-30T12:00:00.000Z"),
        (10**15, "1970-01-01T00:00:00.000Z"),
    ],
)
def test_an_answer_says_from_when_on_waits_were_looked_at(
    logs: Logs, settings: Settings, monkeypatch: pytest.MonkeyPatch, since_ms: int, waits_from: str
) -> None:
    asked: dict[str, int] = {}

    def since(_kafka: object, _admin: object, topic: str, at_ms: int) -> Iterator[Record]:
        asked[topic] = at_ms
        yield from logs.get(topic, [])

    monkeypatch.setattr(records, "since", since)
    logs["headgate.events"] = [produced()]
    [found] = reader(settings).explain("e1", since_ms=since_ms)
    assert (found["waits"], found["waits_from"]) == ([], waits_from)
    assert rfc3339(asked["headgate.runs"]) == waits_from


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {}, [7], [{}], {"a": 1}, ["\x00"], [{"partition": [0], "offset": {}}]]
)
def test_records_that_no_worker_wrote_are_in_nobodys_way(logs: Logs, settings: Settings, odd: Any) -> None:
    run = keys.run_id("w", keys.digest_of(codec.decode(*_parts(produced()), **PLACE)))
    logs["headgate.events"] = [produced()]
    letter = {"source": {"topic": odd, "partition": odd, "offset": odd}, "code": odd}
    result = {"run_id": odd, "events": odd, "status": odd, "error": odd, "workflow_id": odd}
    names = ("run_started", "run_finished", "step_waiting", "step_refused", "step_retried", "step_finished")
    fact = {"run_id": run, "step": "s", "what": odd, "kind": odd, "events": odd, "since": odd, "events_since": odd}
    logs["headgate.dlq"] = [record("dlq", orjson.dumps(one)) for one in (letter, {"source": odd}, odd)]
    logs["headgate.results"] = [record("results", orjson.dumps(one)) for one in (result, odd)]
    told = [fact | {"fact": one} for one in names] + [fact | {"fact": odd}, {"fact": names[0], "run_id": odd}]
    logs["headgate.runs"] = [record("runs", orjson.dumps(one)) for one in (*told, odd)]

    (answer,) = reader(settings).explain("e1", since_ms=1000)

    assert (answer["event"]["id"], answer["dead_letters"]) == ("e1", [])
    assert [(one["workflow"], one["run_id"]) for one in answer["workflows"]][-1] == ("w", run)


@pytest.mark.parametrize("odd", [None, 0, "x", [], {"a": 1}, 1e300, [["a"]]])
def test_an_announcement_that_no_worker_wrote_is_in_nobodys_way(
    logs: Logs, settings: Settings, monkeypatch: pytest.MonkeyPatch, odd: Any
) -> None:
    logs["headgate.events"] = [produced()]
    strange = dict.fromkeys(("triggers", "batch_size", "batch_by", "has_filter"), odd)
    flows = {"strange": strange, "eager": {"triggers": ["**"], "batch_size": odd, "batch_by": "workflow"}}
    monkeypatch.setattr(listening, "heard", lambda *_given, **_more: Heard(workflows=flows, workers=[]))

    (answer,) = reader(settings).explain("e1", since_ms=1000)

    assert [one["workflow"] for one in answer["workflows"]] == ["eager", "strange"]
    assert answer["workflows"][1]["became"] == "no match"


def test_reading_ends_when_its_time_is_over(logs: Logs, settings: Settings) -> None:
    logs["headgate.events"] = [produced(n, event_id=f"e{n}") for n in range(1_000)]
    shown: list[int] = []
    clock = iter([0.0, 3.1])
    with pytest.raises(TookTooLong, match=r"headgate\.events could not be read within 3 s"):
        reader(settings, seconds=3.0, show=shown.append, clock=lambda: next(clock)).explain("e1", since_ms=1000)
    assert shown == [1_000]


@pytest.mark.parametrize(("text", "ms"), [("30s", 30_000), ("1.5h", 5_400_000), ("7d", 604_800_000)])
def test_spans_are_read(text: str, ms: int) -> None:
    assert span_ms(text) == ms


@pytest.mark.parametrize("text", ["", "soon", "1w", "-1h", "9" * 400 + "d"])
def test_what_is_no_span_says_so(text: str) -> None:
    with pytest.raises(ValueError, match="is no span of time, such as 30m, 24h or 7d"):
        span_ms(text)


# --- for the gateway ------------------------------------------------------------------------------------------------


async def test_the_gateway_says_why_it_cannot_read(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Exception] = [KafkaUnreachable("a:1", "gone"), TookTooLong("headgate.events", 20)]
    monkeypatch.setattr(Admin, "connect", lambda _kafka: FakeAdmin())

    def explain(_reader: Reader, _event_id: str, *, since_ms: int) -> list[Any]:
        assert since_ms == 60_000
        raise raised.pop(0)

    monkeypatch.setattr(Reader, "explain", explain)
    explainer = OneAtATime(settings)
    codes = []
    for _ in range(2):
        with pytest.raises(CannotExplain) as refused:
            await explainer.explain("e1", "1m")
        codes.append(refused.value.code)
    assert codes == ["kafka_unavailable", "explain_too_long"]
    with pytest.raises(ValueError, match="no span"):
        await explainer.explain("e1", "soon")


async def test_the_gateway_reads_for_one_at_a_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def connect(_kafka: object) -> FakeAdmin:
        loop.call_soon_threadsafe(begun.set)
        end.wait()
        return FakeAdmin()

    monkeypatch.setattr(Admin, "connect", connect)
    monkeypatch.setattr(Reader, "explain", lambda *_given, **_options: [{"event": {}}])
    explainer = OneAtATime(settings)
    first = asyncio.create_task(explainer.explain("e1", "24h"))
    await begun.wait()
    with pytest.raises(CannotExplain) as refused:
        await explainer.explain("e2", "24h")
    end.set()
    assert (refused.value.code, await first) == ("explain_busy", [{"event": {}}])
    assert await explainer.explain("e2", "24h") == [{"event": {}}]

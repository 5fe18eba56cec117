"""What this gateway tells of its webhooks, and when."""

from collections.abc import Sequence
from typing import Any

import orjson

from app.gateway.telling import COUNTS_SECONDS, LATER_SECONDS, Telling
from connectors.base.instance.events import Outgoing
from topics import codec
from topics.sources import removed, state_topic


class Written:
    """Keeps what was written."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes, Any]] = []
        self.events: list[Outgoing] = []

    async def write(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.records.append((topic, key, None if value is None else orjson.loads(value)))

    async def publish(self, events: Sequence[Outgoing]) -> None:
        self.events += events

    def states(self) -> list[tuple[str, Any]]:
        found = [(key.decode(), value and value["state"]) for _, key, value in self.records]
        self.records.clear()
        return found


class At:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_states_are_told_at_once_and_counts_now_and_then(serve: Any, set_up: Any) -> None:
    at, written = At(), Written()
    async with serve() as served:
        telling = Telling(served.sources, written, at)
        await served.sources.take_triggers(
            [set_up("good", provider="none"), set_up("bad", provider="github", offset=1)]
        )
        await served.sources.take_triggers([set_up("feed", "rss", offset=2)])
        await telling.tell()
        assert written.states() == [("good", "connected"), ("bad", "failed")]
        await telling.tell()
        assert written.states() == []
        served.sources.hooks.get("good").watched.note("handshake")
        await telling.tell()
        assert written.states() == []
        at.now += COUNTS_SECONDS + 1
        await telling.tell()
        ((topic, key, value),) = written.records
        assert (topic, key, value["notes"], value["owner"]) == ("sources", b"good", {"handshake": 1}, "here")
        written.records.clear()
        at.now += LATER_SECONDS + 1
        await telling.tell()
        assert written.states() == [("good", "connected"), ("bad", "failed")]


async def test_nothing_is_told_before_it_is_known_what_is_set_up(serve: Any, set_up: Any) -> None:
    written = Written()
    async with serve() as served:
        telling = Telling(served.sources, written, At())
        served.sources.known = lambda: False
        await served.sources.take_triggers([set_up("good", provider="none")])
        await telling.tell()
        assert written.states() == []
        served.sources.known = lambda: True
        await telling.tell()
        assert written.states() == [("good", "connected")]


async def test_what_is_gone_is_told_and_what_is_set_up_otherwise_is_not_gone(serve: Any, set_up: Any) -> None:
    written = Written()
    async with serve() as served:
        telling = Telling(served.sources, written, At())
        await served.sources.take_triggers([set_up("a", provider="none"), set_up("b", provider="none", offset=1)])
        await telling.tell()
        written.records.clear()
        record = set_up("a", provider="none")
        tombstone = type(record)(*removed("a"), offset=2)
        await served.sources.take_triggers([tombstone, set_up("b", provider="none", publish="body", offset=3)])
        await telling.tell()
        assert written.states() == [("a", None), ("b", "connected")]


async def test_a_run_hears_once_that_its_webhook_can_be_called(serve: Any, set_up: Any) -> None:
    written = Written()
    async with serve() as served:
        telling = Telling(served.sources, written, At())
        of_a_run = {"origin": "run w:0123456789abcdef01234567", "key": "{{ source.id }}"}
        await served.sources.take_triggers([set_up("mine", spec=of_a_run, provider="none")])
        await telling.tell()
        served.sources.hooks.get("mine").watched.note("handshake")
        await telling.tell()
    (one,) = written.events
    event = codec.decode(one.value, one.key, one.headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)
    assert (event.topic, event.key, event.data["state"]) == (state_topic("mine"), "mine", "connected")

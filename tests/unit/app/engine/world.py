"""Several partitions, their logs and their journals: every method is one thing that happens to one of them.

Commands go from one to another through logs, as often as a broker might carry them; the look-backs are the pump's own.
Of the steps there is a stand-in: it notes what the waits came to, once that is committed.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

import orjson

from app.engine import apply as engine
from app.engine.inputs import CommandsRead, Delivered, EventsRead, Input, TimePassed
from app.engine.journal.commit import commit
from app.engine.journal.restore import restore
from app.engine.runs import atrest
from app.engine.steps import steps
from app.engine.tables import timers
from app.engine.tables.state import State, empty
from app.engine.tables.wait import Wait
from app.engine.values.asks import EventCondition
from app.engine.values.limits import Limits
from app.engine.values.outgoing import Outgoing
from app.engine.waits import flushes, lookbacks, waits, wanted
from app.kafka.log import LogRecord
from app.pump import decode, lookback
from topics import asked, codec, keys
from topics.envelope import Envelope

NOW = 1_769_860_800_000
Outcome = tuple[str, str, int, Any]
"""Run, step key, condition, and the data of the event; None when the time was over."""


class _Run:
    def __init__(self, run_id: str) -> None:
        self.id = run_id


class _Log:
    """What a look-back reads: the part of PartitionLog that it uses."""

    def __init__(self, place: "Place") -> None:
        self._place = place

    async def end(self, topic: str) -> int:
        return len(self._place.logs[topic])

    async def offset_at(self, topic: str, timestamp_ms: int) -> int:
        log = self._place.logs[topic]
        return next((one.offset for one in log if one.timestamp >= timestamp_ms), len(log))

    async def read(self, topic: str, start: int, end: int) -> AsyncIterator[list[LogRecord]]:
        if found := self._place.logs[topic][start:end]:
            yield found


class Place:
    """One partition: its logs and its journal, which last, and its owner, which may be replaced at any time."""

    def __init__(self, number: int, limits: Limits, most: int) -> None:
        self.number = number
        self.limits = limits
        self.most = most
        self.logs: dict[str, list[LogRecord]] = {"events": [], "commands": []}
        self.journal: dict[bytes, bytes] = {}
        self.outcomes: list[Outcome] = []
        self.registering: list[Any] = []
        self.judging: list[Outcome] = []
        """What met a stream and nobody has judged yet."""
        self.slow = False
        """Whether its look-backs take their time."""
        self.held: set[int] = set()
        """Partitions that what it sends does not reach for now."""
        self.begin(empty(number, limits, journal_id=f"j{number}"), [])

    def begin(self, state: State, again: list[Outgoing]) -> None:
        self.state = state
        self.undelivered = again
        self.given: list[Input] = []
        self.uncommitted: list[Outcome] = []
        self.lookback = lookback.LookBack(state, _Log(self), self.given.append, event_bytes=1_000_000)  # type: ignore[arg-type]
        self.lookback.offer()

    def restart(self) -> None:
        """Another owner, from the journal alone."""
        found = restore(self.journal, self.number, self.limits, journal_id=f"j{self.number}")
        self.begin(found.state, found.deliver_again)

    @property
    def busy(self) -> bool:
        state = self.state
        behind = state.events_offset < len(self.logs["events"]) or state.commands_offset < len(self.logs["commands"])
        wanted = bool(state.lookbacks or self.lookback._looks) or flushes.question(state) is not None
        waiting = bool(self.given or self.undelivered or self.registering or waits.backlog(state) or state.scanning)
        timer = (timers.next_due_ms(state) or state.now_ms + 1) <= state.now_ms
        return behind or wanted or waiting or timer


class World:
    """All of them, and the time."""

    def __init__(self, partitions: int = 3, *, most: int = 100, **limits: Any) -> None:
        self.limits = Limits(partitions=partitions, **limits)
        self.places = [Place(one, self.limits, most) for one in range(partitions)]
        self.streams: dict[tuple[str, str, int], str] = {}
        """The topics of those that were registered."""
        self.now = NOW

    # --- what happens from outside -------------------------------------------------------------------------------

    def produce(
        self,
        landing: int,
        topic: str,
        data: Any = None,
        *,
        key: str | None = None,
        id: str | None = None,  # noqa: A002 as the event names it
        **more: Any,
    ) -> Envelope:
        """Append an event to the partition `landing`, as any client may."""
        self.now += 1
        record_key, value, headers = codec.produce_form(topic, data, key=key, event_id=id, **more)
        log = self.places[landing].logs["events"]
        log.append(LogRecord(len(log), self.now, record_key, value, headers))
        return codec.decode(
            value,
            record_key,
            headers,
            partition=landing,
            offset=len(log) - 1,
            timestamp_ms=self.now,
            max_bytes=None,
        )

    def register(
        self,
        home: int,
        topic: str,
        *,
        run: str = "flow:1",
        key: str = "approval",
        n: int = 0,
        event_key: str | None = None,
        event_type: str | None = None,
        since: int = NOW,
        deadline: int | None = None,
        seen: tuple[str, ...] = (),
        stream: bool = False,
    ) -> None:
        """Let a run of the partition `home` wait; it does so in its next round."""
        if stream:
            self.streams[run, key, n] = topic
        condition = EventCondition(topic=topic, event_key=event_key, event_type=event_type, stream=stream)
        self.places[home].registering.append(
            lambda state: wanted.register(state, _Run(run), key, n, condition, since, deadline, seen)  # type: ignore[arg-type]
        )

    def withdraw(self, home: int, topic: str, *, run: str = "flow:1", key: str = "approval", n: int = 0) -> None:
        self.places[home].registering.append(
            lambda state: wanted.withdraw(state, _Run(run), key, n, topic)  # type: ignore[arg-type]
        )

    def judge(self, number: int, most: int = 1) -> None:
        """Let filters of a partition's runs refuse what met their streams first; in its next round it wants more."""
        place = self.places[number]
        judged, place.judging[:] = place.judging[:most], place.judging[most:]
        for run, key, n, _ in judged:
            topic = self.streams[run, key, n]
            place.registering.append(
                lambda state, run=run, key=key, n=n, topic=topic: wanted.more(state, _Run(run), key, n, topic, 1)  # type: ignore[arg-type]
            )

    # --- rounds -----------------------------------------------------------------------------------------------------

    def round(self, number: int, *, fate: str = "") -> None:
        """One round of a partition. `fate`: where its owner dies: before the `append`, before it can `send`, or before
        it can `mark` what was sent."""
        place = self.places[number]
        state = place.state
        before = list(place.registering)
        looking = place.lookback
        if looking._looks or looking._question > looking._answered:
            _LOOP.run_until_complete(_served(looking, slow=place.slow))
        given, place.given[:] = list(place.given), []
        effects = [register(state) for register in before]
        given += self._read(place)
        with noting(place):
            engine.apply(state, given or [TimePassed()], self.now)
        assert len(effects) == len(before)
        if fate == "append":
            place.restart()
            return
        made = commit(state)
        if made is not None:
            for key, value in [*made.ahead, *made.batch]:
                place.journal.pop(key, None)
                if value is not None:
                    place.journal[key] = value
            if made.outgoing:
                place.undelivered.append(made.outgoing)
        atrest.pack(state)
        del place.registering[: len(before)]
        place.outcomes += place.uncommitted
        place.judging += [one for one in place.uncommitted if one[:3] in self.streams and one[3] is not None]
        assert len(place.judging) <= self.limits.candidates * max(1, len(self.streams)), "more than may be ahead"
        place.uncommitted.clear()
        if fate == "send":
            place.restart()
            return
        self._send(place)
        if fate == "mark":
            place.restart()
            return
        place.lookback.offer()

    def _send(self, place: Place) -> None:
        """Send what can be sent, to each partition in order; a round is delivered once it and those before it are."""
        delivered = 0
        for outgoing in place.undelivered:
            for record in list(outgoing.records):
                assert record.topic == "commands"
                assert record.partition is not None
                if record.partition not in place.held:
                    log = self.places[record.partition].logs["commands"]
                    log.append(LogRecord(len(log), self.now, record.key, record.value, ()))
                    outgoing.records.remove(record)
        while place.undelivered and not place.undelivered[0].records:
            delivered = place.undelivered.pop(0).round
        if delivered:
            place.given.append(Delivered(delivered, 0, 0))

    def _read(self, place: Place) -> list[Input]:
        state = place.state
        given: list[Input] = []
        at = state.commands_offset
        if few := place.logs["commands"][at : at + place.most]:
            given.append(_commands(few, place.number, self.now))
        at = state.events_offset
        if few := place.logs["events"][at : at + place.most]:
            given.append(_events(few, place.number, self.now))
        return given

    def settle(self) -> None:
        """Let everybody go round until nothing is left to do."""
        for place in self.places:
            place.slow = False
            place.held.clear()
        for _ in range(400):
            for place in self.places:
                self.judge(place.number, self.limits.candidates)
            busy = [one.number for one in self.places if one.busy]
            if not busy:
                return
            for number in busy:
                self.round(number)
        raise AssertionError("it never comes to rest")

    def wait(self, ms: int) -> None:
        self.now += ms
        for place in self.places:
            place.state.now_ms = max(place.state.now_ms, self.now)

    @property
    def outcomes(self) -> list[Outcome]:
        return [one for place in self.places for one in place.outcomes]


@contextmanager
def noting(place: Place) -> Iterator[None]:
    def met(_state: State, run_id: str, key: str, n: int, envelope: Envelope, _effects: Any) -> None:
        place.uncommitted.append((run_id, key, n, envelope.data))

    def expired(_state: State, run_id: str, key: str, n: int, _effects: Any) -> None:
        place.uncommitted.append((run_id, key, n, None))

    with mock.patch.object(steps, "met", met), mock.patch.object(steps, "expired", expired):
        yield


def _events(few: list[LogRecord], partition: int, now_ms: int) -> EventsRead:
    return decode.events(few, partition, few[-1].offset + 1, max_bytes=1_000_000, now_ms=now_ms, prefix="headgate.")


def _commands(few: list[LogRecord], partition: int, now_ms: int) -> CommandsRead:
    return decode.commands_read(few, partition, few[-1].offset + 1, now_ms=now_ms, prefix="headgate.")


async def _served(one: lookback.LookBack, *, slow: bool) -> None:
    """Do what the pump's task would do, all of it."""
    await one._ends()
    if slow:
        return
    looks, one._looks = one._looks, []
    if looks:
        await one._scan(looks)


_LOOP: Final = asyncio.new_event_loop()


def registry_of(topic: str, partitions: int = 3) -> int:
    return keys.partition_of(topic.encode(), partitions)


def key_at(home: int, partitions: int = 3) -> str:
    """A key whose events live at `home`."""
    return next(name for name in map("k{}".format, range(100)) if keys.partition_of(name.encode(), partitions) == home)


def topic_at(registry: int, partitions: int = 3, head: str = "approvals") -> str:
    """A topic whose registry is `registry`."""
    names = (f"{head}/{one}" for one in range(100))
    return next(name for name in names if keys.partition_of(name.encode(), partitions) == registry)


def wait_for(topic: str = "approvals/42", *, source: int = 1, **changed: Any) -> Wait:
    """A wait as the registry of its topic has it."""
    fields: dict[str, Any] = {
        "run": "flow:1",
        "key": "approval",
        "n": 0,
        "topic": topic,
        "event_key": None,
        "event_type": None,
        "since_ms": NOW,
        "deadline_ms": None,
        "seen": (),
        "stream": False,
    }
    return Wait(asked.Wait(**(fields | changed)), source)


def shown(place: Place) -> dict[str, Any]:
    """The entities of waits in a journal, for a look at them."""
    kinds = (b"wait:", b"head:", b"interest:", b"fan:")
    return {key.decode(): orjson.loads(value) for key, value in place.journal.items() if key.startswith(kinds)}


__all__ = ["NOW", "Place", "World", "key_at", "lookbacks", "registry_of", "shown", "topic_at", "wait_for"]

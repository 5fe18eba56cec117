"""Reads from Kafka what became of an event: what `app.ui.explanation` needs. For the command line and the gateway.

Nothing but Kafka is asked, so it tells the same with and without a gateway. Ids are looked for in what is not older
than `since_ms`, by reading it; a place is found at once. Of the journals those partitions are read that the event
comes by.
"""

import asyncio
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from app.gateway.explain import CannotExplain
from app.kafka import clients, records
from app.kafka.admin import Admin, AdminError
from app.kafka.records import Record, TopicMissing
from app.settings import Settings
from app.ui import explanation, handled
from app.wiring import listening
from topics import catalog, codec, facts, keys
from topics.envelope import Envelope
from topics.facts import RunFact
from topics.journal import FENCE_HEADER
from topics.malformed import Malformed
from topics.timestamps import rfc3339

_PLACE: Final = re.compile(r"(\d{1,9})-(\d{1,18})", re.ASCII)
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SOURCE: Final = ("topic", "partition", "offset")
_SKEW_MS: Final = 60_000
"""How far the clocks of brokers may differ: what came of an event is looked for from so long before it."""
MOST_SECONDS: Final = 20.0
"""For which the gateway reads."""
_LOOK_EVERY: Final = 1_000
"""Records between two looks at the clock."""


def span_ms(text: str) -> int:
    """Read a span such as 30m, 24h or 7d. Raises ValueError."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of time, such as 30m, 24h or 7d")
    return round(float(found[1]) * _UNITS[found[2]])


class TookTooLong(Exception):
    """More had to be read than the given time allows."""

    def __init__(self, topic: str, seconds: float) -> None:
        super().__init__(f"{topic} could not be read within {seconds:g} s")
        self.topic, self.seconds = topic, seconds


@dataclass(kw_only=True)
class Reader:
    """Reads for one question. Every method raises what `app.kafka.records` raises, and TookTooLong."""

    settings: Settings
    admin: Admin
    now_ms: int
    seconds: float | None = None
    """How long it may take, None for as long as it takes."""
    show: Callable[[int], object] = lambda _count: None
    """Hears how many records were read."""
    odd: Callable[[bytes], object] = lambda _key: None
    """Hears of keys in `workflows` that are no announcement."""
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _read: int = 0

    def __post_init__(self) -> None:
        self._began = self.clock()

    def explain(self, event_id: str, *, since_ms: int) -> list[dict[str, Any]]:
        """Return an answer for each event that is meant; none: there is none like it.

        The id may be a place, `<partition>-<offset>`. An answer is what `explanation.explained` returns, or tells of a
        record that is no event (`malformed`).
        """
        place = _PLACE.fullmatch(event_id)
        at_place = None if place is None else self._at_place(int(place[1]), int(place[2]))
        if isinstance(at_place, dict):
            return [at_place]
        found = list(self._like(event_id, at_place, since_ms=since_ms))
        return [explanation.explained(self._evidence(event, equal, since_ms=since_ms)) for event, equal in found]

    # --- the event ----------------------------------------------------------------------------------------------------

    def _at_place(self, partition: int, offset: int) -> Envelope | dict[str, Any] | None:
        """The event at a place; what is known of a record that is none; None where there is nothing."""
        record = records.record_at(
            self.settings.kafka, self.admin, self._topic("events"), partition=partition, offset=offset
        )
        if record is None:
            return None
        try:
            return _event(record)
        except Malformed as wrong:
            letters = self._letters({(partition, offset)}, record.timestamp_ms)
            return {
                "partition": partition,
                "offset": offset,
                "appended_at": rfc3339(record.timestamp_ms),
                "malformed": facts.error_of(wrong.code, wrong.reason) | {"remedy": wrong.remedy},
                "dead_letters": letters,
            }

    def _like(
        self, event_id: str, at_place: Envelope | None, *, since_ms: int
    ) -> Iterator[tuple[Envelope, list[Envelope]]]:
        """Each event that is meant, with all that have its id, source and key, the earliest first."""
        if at_place is not None and not at_place.explicit:
            yield at_place, [at_place]
            return
        wanted = event_id if at_place is None else at_place.id
        newest_ms = self.now_ms if at_place is None else at_place.timestamp_ms
        like = defaultdict[bytes, list[Envelope]](list)
        for event in self._with_id(wanted, newest_ms - since_ms):
            like[keys.digest_of(event)].append(event)
        for equal in like.values():
            equal.sort(key=lambda one: (one.timestamp_ms, one.partition, one.offset))
        if at_place is not None:
            yield at_place, like.get(keys.digest_of(at_place)) or [at_place]
            return
        for equal in like.values():
            yield equal[0], equal

    def _with_id(self, event_id: str, since_ms: int) -> Iterator[Envelope]:
        needle = event_id.encode()
        for record in self._since("events", since_ms):
            # Nearly all are others: only what may hold the id is decoded, and JSON may write it with escapes.
            value = record.value or b""
            if needle in value or b"\\" in value or any(needle == content for _, content in record.headers):
                try:
                    event = _event(record)
                except Malformed:
                    continue
                if event.explicit and event.id == event_id:
                    yield event

    # --- what became of it --------------------------------------------------------------------------------------------

    def _evidence(self, event: Envelope, equal: Sequence[Envelope], *, since_ms: int) -> explanation.Evidence:
        kafka = self.settings.kafka
        heard = listening.heard(kafka, self.admin, now_ms=self.now_ms, odd=self.odd)
        events = self._topic("events")
        partitions = self.admin.topics([events])[events].partitions
        places = {(one.partition, one.offset) for one in equal}
        runs = {keys.run_id(one, keys.digest_of(event)) for one in heard.workflows}
        dedup_ms = round(self.settings.dedup.window_hours * _UNITS["h"])
        first_ms = equal[0].timestamp_ms
        # Journals first: what they say is decided is sent by the time when the rest is read.
        original = explanation.original(event, equal, dedup_ms)
        way = explanation.way_of(original, heard.workflows, partitions)
        journals = {one: self._journal(one, original, runs) for one in way}
        facts_from_ms = max(0, min(first_ms - _SKEW_MS, self.now_ms - since_ms))
        told, starts = self._facts(event.topic, runs, places, facts_from_ms)
        return explanation.Evidence(
            event=event,
            equal=equal,
            partitions=partitions,
            dedup_ms=dedup_ms,
            letters=self._letters(places, first_ms),
            announced=heard.workflows,
            loaders={one: [worker.instance_id for worker in heard.loaders(one)] for one in heard.workflows},
            results=list(self._results(runs, places, first_ms - _SKEW_MS)),
            facts=told,
            facts_from_ms=facts_from_ms,
            starts=starts,
            journals=journals,
        )

    def _journal(self, partition: int, event: Envelope, runs: Iterable[str]) -> handled.Journaled:
        topic = self._topic("journal")
        reading = handled.Reading(partition, event, runs)
        for record in self._timed(topic, records.whole(self.settings.kafka, self.admin, topic, partition=partition)):
            if record.key is not None and all(name != FENCE_HEADER for name, _ in record.headers):
                reading.take(record.key, record.value)
        return reading.end()

    def _letters(self, places: set[tuple[int, int]], since_ms: int) -> list[dict[str, Any]]:
        sources = [[self._topic("events"), partition, offset] for partition, offset in places]
        found = []
        for record in self._since("dlq", since_ms - _SKEW_MS):
            letter = _object(record)
            source = letter.get("source")
            if isinstance(source, dict) and [source.get(one) for one in _SOURCE] in sources:
                found.append(letter)
        return found

    def _results(self, runs: set[str], places: set[tuple[int, int]], since_ms: int) -> Iterator[dict[str, Any]]:
        """The results of runs that the event started, by themselves or in a batch."""
        for record in self._since("results", since_ms):
            result = _object(record)
            if str(result.get("run_id")) in runs or explanation.holds(result.get("events"), places):
                yield result

    def _facts(
        self, topic: str, runs: set[str], places: Iterable[tuple[int, int]], since_ms: int
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        """The facts of runs that have to do with the event, and when runs began."""
        kept: dict[str, list[dict[str, Any]]] = {}
        starts: dict[str, str] = {}
        for record in self._since("runs", since_ms):
            fact = _object(record)
            run_id = str(fact.get("run_id"))
            if fact.get("fact") == RunFact.STARTED:
                starts[run_id] = str(fact.get("at"))
            if run_id in kept:
                kept[run_id].append(fact)
            elif run_id in runs or explanation.holds(fact.get("events"), places) or explanation.concerns(fact, topic):
                kept[run_id] = [fact]
        return kept, starts

    # --- reading ------------------------------------------------------------------------------------------------------

    def _topic(self, name: str) -> str:
        return catalog.qualified(self.settings.kafka.prefix, name)

    def _since(self, name: str, at_ms: int) -> Iterator[Record]:
        topic = self._topic(name)
        return self._timed(topic, records.since(self.settings.kafka, self.admin, topic, max(0, at_ms)))

    def _timed(self, topic: str, found: Iterable[Record]) -> Iterator[Record]:
        """Yield what is read. Raises TookTooLong."""
        for record in found:
            self._read += 1
            if self._read % _LOOK_EVERY == 0:
                self.show(self._read)
                if self.seconds is not None and self.clock() - self._began > self.seconds:
                    raise TookTooLong(topic, self.seconds)
            yield record


class OneAtATime:
    """Explains for the gateway, in a thread: reading is work, and requests are served meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._busy = threading.Lock()

    async def explain(self, event_id: str, since: str) -> Sequence[Mapping[str, Any]]:
        """See `app.gateway.explain.Explainer`."""
        return await asyncio.to_thread(self._explain, event_id, span_ms(since))

    def _explain(self, event_id: str, since_ms: int) -> Sequence[Mapping[str, Any]]:
        # Held by the thread, which goes on when whoever asked has left.
        if not self._busy.acquire(blocking=False):
            message = "Another event is being explained, and one at a time is read for."
            raise CannotExplain("explain_busy", message, "`headgate explain` needs no gateway.", wait_seconds=2)
        try:
            kafka = self._settings.kafka
            admin = Admin.connect(kafka)
            now_ms = round(time.time() * 1000)
            reader = Reader(settings=self._settings, admin=admin, now_ms=now_ms, seconds=MOST_SECONDS)
            return reader.explain(event_id, since_ms=since_ms)
        except (clients.KafkaUnreachable, AdminError, TopicMissing) as error:
            remedy = "`headgate doctor` looks for the cause."
            raise CannotExplain("kafka_unavailable", f"{error}.", remedy, wait_seconds=5) from error
        except TookTooLong as error:
            remedy = "Give a smaller ?since=, or the event's place; `headgate explain` takes as long as it needs."
            raise CannotExplain("explain_too_long", f"{error}.", remedy, wait_seconds=5) from error
        finally:
            self._busy.release()


def _event(record: Record) -> Envelope:
    return codec.decode(
        record.value,
        record.key,
        record.headers,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        max_bytes=None,
    )


def _object(record: Record) -> dict[str, Any]:
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}

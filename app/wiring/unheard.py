"""Events that came to nothing, told to the author in `headgate dev`: duplicates, and topics that nobody listens to.

What a run waits for has come to something, as far as the last facts tell of waits.

Workers count them and no more, so that they cost nothing. The names of topics are looked up in Kafka when a count has
grown: among the last events only, as many as a person could have sent meanwhile. A source emits for as long as it runs,
so each is told of once.
"""

import http.client
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import orjson

from app.kafka.admin import Admin
from app.kafka.records import Reader, Record
from app.settings import KafkaSettings
from app.ui.explanation import conditions
from app.wiring import listening
from topics import catalog, codec, reserved
from topics.facts import RunFact
from topics.malformed import Malformed
from topics.patterns import Pattern
from topics.provenance import SOURCE

LAST: Final = 100
"""Events of each partition that are looked at."""
LAST_FACTS: Final = 1_000
"""Facts of each partition that are looked at for waits."""
SHOWN: Final = 5
SLACK_MS: Final = 5_000
_OF_RUNS: Final = "run-"
"""What the ids begin with that runs give to their sources: their events are waited for, and start nothing."""
_COUNTS: Final = {"headgate_events_duplicate_total": "duplicates", "headgate_events_unmatched_total": "unmatched"}


class Unheard:
    """Called now and then; tells what came to nothing since the last call."""

    def __init__(self, say: Callable[[str], None], *, host: str = "127.0.0.1") -> None:
        """`host` is where the workers serve their metrics."""
        self._say, self._host = say, host
        self._counts: dict[int, Counter[str]] = {}
        self._told: set[tuple[int, int]] = set()
        self._told_sources: set[str] = set()
        self._since_ms = _now_ms()

    def look(self, kafka: KafkaSettings, ports: Iterable[int]) -> None:
        """Compare the counts of the workers with those of the last call. Raises KafkaUnreachable, TopicMissing."""
        grown: Counter[str] = Counter()
        since_ms, self._since_ms = self._since_ms, _now_ms()
        for port in ports:
            now = counts(_metrics(self._host, port))
            grown += now - self._counts.get(port, Counter())
            self._counts[port] = now
        if grown["duplicates"]:
            self._say(f"{_events(grown['duplicates'])} dropped as duplicates: the ids were seen before")
        if grown["unmatched"]:
            self._tell_unmatched(kafka, since_ms - SLACK_MS, grown["unmatched"])

    def _tell_unmatched(self, kafka: KafkaSettings, since_ms: int, count: int) -> None:
        admin = Admin.connect(kafka)
        listened = listening.patterns(listening.announcements(kafka, admin).values())
        found: Counter[str] = Counter()
        of_sources: dict[str, str] = {}
        events = catalog.qualified(kafka.prefix, "events")
        with Reader(kafka, admin, events, from_start=False, last=LAST) as reader:
            new = [one for one in reader.existing() if one.timestamp_ms >= since_ms]
        for place, topic, source in _decoded(new):
            if topic.startswith(reserved.PREFIX):
                continue
            if place not in self._told and not any(pattern.matches(topic) for pattern in listened):
                if source is None:
                    found[topic] += 1
                else:
                    of_sources.setdefault(source, topic)
        self._told = {(one.partition, one.offset) for one in new}
        awaited = _awaited(kafka, admin) if found or of_sources else []
        for topic in [one for one in found if any(pattern.matches(one) for pattern in awaited)]:
            count -= found.pop(topic)
        for source in sorted(of_sources.keys() - self._told_sources):
            topic = of_sources[source]
            if source.startswith(_OF_RUNS) or any(pattern.matches(topic) for pattern in awaited):
                continue
            named = _named(topic, listening.nearest(topic, listened))
            self._say(f"events of source {source} match no workflow: {named} (told once)")
        self._told_sources |= of_sources.keys()
        if of_sources:  # the counts of workers have theirs as well
            count = found.total()
        if count > 0:
            topics = ", ".join(
                _named(topic, listening.nearest(topic, listened)) for topic, _ in found.most_common(SHOWN)
            )
            self._say(f"{_events(count)} matched no workflow" + (f": {topics}" if topics else ""))


def _awaited(kafka: KafkaSettings, admin: Admin) -> list[Pattern]:
    """What runs have waited for of late."""
    found: dict[str, list[Pattern]] = {}
    with Reader(kafka, admin, catalog.qualified(kafka.prefix, "runs"), from_start=False, last=LAST_FACTS) as reader:
        for record in reader.existing():
            if RunFact.STEP_WAITING.value.encode() not in (record.value or b""):
                continue
            try:
                what = str(orjson.loads(record.value or b"")["what"])
            except (ValueError, LookupError, TypeError):
                continue
            found.setdefault(what, [one.pattern for one in conditions(what)])
    return [pattern for patterns in found.values() for pattern in patterns]


def counts(metrics: str) -> Counter[str]:
    """The counts that matter here, out of a worker's metrics."""
    found: Counter[str] = Counter()
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name in _COUNTS:
            found[_COUNTS[name]] = int(float(value))
    return found


def _metrics(host: str, port: int) -> str:
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=2.0)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return ""  # it ends, or starts again: the next look asks the next one
    finally:
        connection.close()


def _decoded(records: Iterable[Record]) -> Iterator[tuple[tuple[int, int], str, str | None]]:
    """Yield place and topic of each event, and the source that has read it."""
    for one in records:
        try:
            event = codec.decode(
                one.value,
                one.key,
                one.headers,
                partition=one.partition,
                offset=one.offset,
                timestamp_ms=one.timestamp_ms,
                max_bytes=None,
            )
        except Malformed:  # a dead letter says so
            continue
        source = event.source.removeprefix(SOURCE) if event.source.startswith(SOURCE) else None
        yield (one.partition, one.offset), event.topic, source


def _events(count: int) -> str:
    return f"{count:,} event" + ("" if count == 1 else "s")


def _named(topic: str, meant: str | None) -> str:
    return topic if meant is None else f"{topic} (did you mean {meant}?)"


def _now_ms() -> int:
    return round(time.time() * 1000)

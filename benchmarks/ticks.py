"""Ticks of `cron` sources at an independent consumer, a process of its own: how late each is, which do not come.

Prints `{"ready": true}`, then one line once every source has told every instant of the span, or nothing more comes.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson
from confluent_kafka import OFFSET_END

from benchmarks import watch

PATIENCE_SECONDS: Final = 10.0
"""A tick that is later than this after the last instant is lost."""


@dataclass(slots=True, kw_only=True)
class Ticks:
    """The ticks of so many sources for the instants from `begin_ms` on, one each second."""

    sources: int
    begin_ms: int
    seconds: int
    late_ns: dict[tuple[str | bytes | None, int], int] = field(default_factory=dict)
    """By source and instant."""
    doubled: int = 0

    def take(self, ticks: Iterable[tuple[str | bytes | None, bytes]], now_ns: int) -> None:
        """Note ticks, each the name of its source and its event, that came at a time of the wall's clock."""
        for source, event in ticks:
            instant = datetime.fromisoformat(orjson.loads(event)["data"]["scheduledAt"])
            instant_ms = round(instant.timestamp() * 1_000)
            if not self.begin_ms <= instant_ms < self.begin_ms + self.seconds * 1_000:
                continue
            if (source, instant_ms) in self.late_ns:
                self.doubled += 1
            else:
                self.late_ns[source, instant_ms] = now_ns - instant_ms * 1_000_000

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return len(self.late_ns) >= self.sources * self.seconds

    def summary(self) -> dict[str, Any]:
        """Return what is missing or twice, and how late the others were."""
        lost = self.sources * self.seconds - len(self.late_ns)
        return {"lost": lost, "doubled": self.doubled, **watch.percentiles(sorted(self.late_ns.values()))}


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--sources", type=int, required=True)
    parser.add_argument("--begin-ms", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    given = parser.parse_args()
    source = watch.consumer(given.bootstrap, given.topic, offset=OFFSET_END, lowest_latency=True)
    source.poll(0.2)
    watch.say(ready=True)
    ticks = Ticks(sources=given.sources, begin_ms=given.begin_ms, seconds=given.seconds)
    until = given.begin_ms / 1_000 + given.seconds + PATIENCE_SECONDS
    while not ticks.is_whole and time.time() < until:
        # One by one: a batch is handed over late.
        if (record := source.poll(0.1)) is not None and record.error() is None:
            headers = dict(record.headers() or ())
            ticks.take([(headers["instance"], record.value() or b"")], time.time_ns())
    watch.say(**ticks.summary())


if __name__ == "__main__":
    main()

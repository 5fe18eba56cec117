"""Events of sources at an independent consumer, a process of its own: when each came first, which are missing or twice.

An event is known by its mark, the id that the outside gave it (`benchmarks.events`), wherever in the record it stands:
sources differ in what they make of a message. Prints `{"ready": true}`, then one line with what came, once all is there
or nothing more comes for `--stall-seconds`.
"""

import argparse
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import OFFSET_END

from benchmarks import watch

FIRST_SECONDS: Final = 60.0
"""The first event may take so much longer than the others."""


@dataclass(slots=True, kw_only=True)
class Arrivals:
    """What has come of one run."""

    run: str
    expected: int
    at_ns: dict[int, int] = field(default_factory=dict)
    doubled: int = 0
    _mark: re.Pattern[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._mark = re.compile(rb"%b(\d{%d})" % (re.escape(self.run.encode()), 16 - len(self.run)))

    def take(self, values: Iterable[bytes | None], at_ns: int) -> int:
        """Note records; return how many of them are of this run."""
        taken = 0
        for value in values:
            found = self._mark.search(value or b"")
            if found is None:
                continue
            taken += 1
            number = int(found[1])
            if number in self.at_ns:
                self.doubled += 1
            else:
                self.at_ns[number] = at_ns
        return taken

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return len(self.at_ns) >= self.expected

    def summary(self, *, rate: float = 0.0, start_ns: int = 0, skip_seconds: float = 0.0) -> dict[str, Any]:
        """Return counts, when first and last came; with a rate also how long after its intended time each came."""
        times = sorted(self.at_ns.values())
        said: dict[str, Any] = {
            "expected": self.expected,
            "distinct": len(times),
            "after_first": sum(at > times[0] for at in times) if times else 0,
            "lost": self.expected - len(times),
            "doubled": self.doubled,
            "first_ns": times[0] if times else None,
            "last_ns": times[-1] if times else None,
        }
        if not rate:
            return said
        gap, skip = 1e9 / rate, int(skip_seconds * rate)
        return said | watch.percentiles(
            sorted(at - start_ns - int(number * gap) for number, at in self.at_ns.items() if number >= skip)
        )


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--expected", type=int, required=True)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--start-ns", type=int, default=0)
    parser.add_argument("--skip-seconds", type=float, default=0.0, help="leave the first seconds out: warming up")
    parser.add_argument("--stall-seconds", type=float, default=15.0)
    given = parser.parse_args()
    source = watch.consumer(given.bootstrap, given.topic, offset=OFFSET_END, lowest_latency=bool(given.rate))
    source.poll(0.2)
    watch.say(ready=True)
    arrivals = Arrivals(run=given.run, expected=given.expected)
    quiet_since = time.monotonic() + FIRST_SECONDS
    while not arrivals.is_whole:
        # One by one where times matter: a batch is handed over late.
        records = source.consume(1, timeout=0.1) if given.rate else source.consume(2_000, timeout=0.05)
        if arrivals.take((one.value() for one in records if one.error() is None), time.monotonic_ns()):
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > given.stall_seconds:
            break
    until = time.monotonic() + 1.0  # one that comes twice may come a little later
    while time.monotonic() < until:
        records = source.consume(2_000, timeout=0.1)
        arrivals.take((one.value() for one in records if one.error() is None), time.monotonic_ns())
    watch.say(**arrivals.summary(rate=given.rate, start_ns=given.start_ns, skip_seconds=given.skip_seconds))


if __name__ == "__main__":
    main()

"""`make fleet`: processes of connectors under kill -9 every few seconds, a frozen owner, a broker that goes away.

Every event of the world outside has exactly one result at the end; or this ends with 1.

    python -m tests.e2e.fleet --minutes 5 --seed 7 --save benchmarks/results/fleet-7.json
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import yaml

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.gathered import FLOW, Gathered
from tests.e2e.outside import Outside
from tests.e2e.service import Connectors, Service
from tests.e2e.waiting import until

RECOVERY_SECONDS: Final = 90.0
SOURCES: Final = ("stream", "items")
"""Those that can be read again: nothing of them is lost."""


@dataclass(kw_only=True)
class Outcome:
    """What became of the events of the outside."""

    seconds: float = 0.0
    kills: int = 0
    freezes: int = 0
    broker_restarts: int = 0
    events: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    takeover_seconds: list[float] = field(default_factory=list)
    """From a kill to the next result of a source that went on elsewhere."""


def declare(folder: Path, outside: Outside, name: str = "sources.yaml") -> Path:
    """Write the file of sources."""
    reconnect = {"base_seconds": 0.2, "max_seconds": 1, "failed_seconds": 2}
    sources = [
        {
            "id": "stream",
            "kind": "http-stream",
            "options": {"url": f"{outside.url}/stream"},
            "reconnect": dict(reconnect),
        },
        {
            "id": "items",
            "kind": "poll",
            "options": {
                "interval": "200ms",
                "rest": {
                    "url": f"{outside.url}/items",
                    "id": "id",
                    "cursor": {"by": "id", "field": "id", "parameter": "after"},
                },
            },
            "reconnect": dict(reconnect),
        },
        {"id": "clock", "kind": "cron", "options": {"schedule": "1s", "misfire": "all"}, "reconnect": dict(reconnect)},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(yaml.safe_dump({"sources": sources}))
    return file


class Fleet:
    """Two processes of connectors that are struck again and again, and a worker that is left alone."""

    def __init__(self, service: Service, outside: Outside, chance: random.Random, say: Callable[[str], None]) -> None:
        self._service, self._outside, self._chance, self._say = service, outside, chance, say
        self._file = declare(service.folder / "sources", outside)
        self._worker = service.start("w0", flows=FLOW).ready()
        self.gathered = Gathered(service)
        self.members = [self._started(name) for name in ("c0", "c1")]
        for member in self.members:
            member.ready()
        self.began = datetime.now(UTC)
        self.outcome = Outcome()

    def _started(self, name: str) -> Connectors:
        return self._service.connectors(name, self._file)

    def kill(self) -> None:
        """kill -9 of one; another takes its place. Return once both are there again."""
        number = self._chance.randrange(2)
        victim = self.members[number]
        began = time.monotonic()
        before = {source: self._highest(source) for source in SOURCES}
        victim.kill()
        self.members[number] = self._started(victim.name)
        until(
            lambda: all(self._highest(source) > before[source] + 5 for source in SOURCES),
            RECOVERY_SECONDS,
            "sources go on after a kill",
            else_show=self._service.tails,
        )
        self.outcome.takeover_seconds.append(round(time.monotonic() - began, 2))
        self.outcome.kills += 1

    def freeze(self, seconds: float = 10.0) -> None:
        """SIGSTOP past the session, then go on: the frozen one is refused, and joins again."""
        frozen, other = self._chance.sample(self.members, 2)
        before = {source: self._highest(source) for source in SOURCES}
        frozen.freeze()
        time.sleep(seconds)
        until(
            lambda: all(self._highest(source) > before[source] + 5 for source in SOURCES),
            RECOVERY_SECONDS,
            "sources go on while one is frozen",
            else_show=other.tail,
        )
        frozen.go_on()
        self.outcome.freezes += 1

    def restart_broker(self, seconds: float) -> None:
        """The broker is away for a time."""
        self._service.kafka.stop()
        time.sleep(seconds)
        self._service.kafka.start()
        self.outcome.broker_restarts += 1

    def finish(self) -> Outcome:
        """Let no more come; every event there was has one result."""
        count = self._outside.hold()
        for source in SOURCES:
            self.gathered.has(source, range(1, count + 1), RECOVERY_SECONDS)
            self.outcome.events[source] = count
        ticks: Counter[str] = self.gathered.numbers.get("clock", Counter())
        self.outcome.events["clock"] = len(ticks)
        self.outcome.lost += _gaps(list(ticks))
        for source in (*SOURCES, "clock"):
            self.outcome.doubled += len(self.gathered.doubled(source))
        return self.outcome

    def _highest(self, source: str) -> int:
        self.gathered.read_on()
        return max(self.gathered.numbers.get(source, {}), default=0)


def _gaps(instants: list[str]) -> int:
    """Return how many seconds between the first and the last tick have none."""
    seconds = sorted(round(datetime.fromisoformat(one).timestamp()) for one in instants)
    return 0 if not seconds else seconds[-1] - seconds[0] + 1 - len(set(seconds))


def main(arguments: list[str] | None = None) -> int:
    """Run for a time, print the counts, and return 1 if anything was lost or doubled."""
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    parser.add_argument("--away", type=float, default=60.0, help="seconds that the broker is away, once")
    parser.add_argument("--save", type=Path, help="file for the counts as JSON")
    options = parser.parse_args(arguments)
    chance = random.Random(options.seed)
    print(f"seed {options.seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedKafka(Path(folder) / "kafka") as kafka,
        Service(kafka, "fleet.", Path(folder) / "service") as service,
        Outside() as outside,
    ):
        began = time.monotonic()
        fleet = Fleet(service, outside, chance, print)
        away_at = began + options.minutes * 30
        while time.monotonic() - began < options.minutes * 60:
            if away_at and time.monotonic() > away_at:
                away_at = 0.0
                fleet.restart_broker(options.away)
            elif chance.random() < 0.15:
                fleet.freeze()
            else:
                fleet.kill()
            print(f"{time.monotonic() - began:5.0f} s  {asdict(fleet.outcome)}")
            time.sleep(chance.uniform(0.5, 4.0))
        outcome = fleet.finish()
        outcome.seconds = round(time.monotonic() - began, 1)
    found = asdict(outcome) | {"seed": options.seed}
    print(json.dumps(found))
    if options.save:
        options.save.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if outcome.lost or outcome.doubled else 0


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: two workers and a broker under a steady load of all kinds of workflows; at random moments one of them
is killed or frozen. At the end every event has exactly one result, or this ends with 1.

    python -m tests.e2e.chaos --kills 30 --seed 7 --save benchmarks/results/chaos-7.json
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.kafka.embedded import EmbeddedKafka
from app.kafka.embedded.jars import load_lock
from tests.e2e.load import Load
from tests.e2e.service import Service, Worker
from tests.e2e.tally import Tally, Verdict, dead_letters
from tests.e2e.waiting import until

WORKERS: Final = ("w0", "w1")
RECOVERY_SECONDS: Final = 90.0
OVERLAP: Final = 0.3
"""Share of the blows that are dealt while the service still recovers from the one before."""
_KILLED = -9


@dataclass(frozen=True, kw_only=True)
class Blow:
    """One kill or freeze."""

    kind: str
    at_seconds: float
    frozen_seconds: float
    """How long a process was frozen, or the broker not there: no share of ours."""
    silent_seconds: float
    """Longest time until the next one that any partition was without a result."""


class Chaos:
    """Deals blows to a service, and restarts what ended as a supervisor would."""

    def __init__(self, service: Service, tally: Tally, chance: random.Random, report: Callable[[str], None]) -> None:
        self._service, self._tally, self._chance, self._report = service, tally, chance, report
        self._kafka = service.kafka
        self.workers: dict[str, Worker] = {}
        self.exits: Counter[int] = Counter()
        """Exit codes of workers that were not killed."""
        self.kinds: dict[str, Callable[[], float]] = {
            "worker killed, started at once": self._restart,
            "worker killed, the other takes over": self._take_over,
            "both workers killed": self._restart_both,
            "worker frozen for a moment": self._freeze_worker,
            "worker frozen past its session": self._freeze_past_session,
            "broker killed": self._kill_broker,
            "broker frozen": self._freeze_broker,
        }

    def start(self) -> None:
        self._supervise()
        self.recovered()

    def blow(self, kind: str) -> float:
        """Deal one blow; return for how long something was frozen or away."""
        frozen = self.kinds[kind]()
        if self._chance.random() < OVERLAP:
            self.go_on(self._chance.uniform(0.0, 3.0))
        else:
            self.recovered()
            self.go_on(self._chance.uniform(0.0, 4.0))
        return frozen

    def recovered(self) -> None:
        def serving() -> bool:
            self._supervise()
            self._tally.count()
            owned = [self.workers[name].owned() for name in WORKERS]
            return all(owned) and sum(owned) == self._service.partitions

        until(serving, RECOVERY_SECONDS, "both workers serve again", else_show=self._service.tails)

    def go_on(self, seconds: float) -> None:
        """Let time pass, and read results."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._supervise()
            self._tally.count()

    def _supervise(self, *, but: Worker | None = None) -> None:
        for name in WORKERS:
            worker = self.workers.get(name)
            if worker is not None and worker is but:
                continue
            if worker is not None and not worker.alive:
                code = worker.ended(1.0)
                if code != _KILLED:
                    self.exits[code] += 1
                    self._report(f"{name} ended with {code}: {worker.log().strip().splitlines()[-1][:200]}")
            if worker is None or not worker.alive:
                self.workers[name] = self._service.start(name)
            elif worker.port is None:
                worker.look_for_port()

    def _one(self) -> Worker:
        return self.workers[self._chance.choice(WORKERS)]

    def _restart(self) -> float:
        self._one().kill()
        return 0.0

    def _restart_both(self) -> float:
        for name in WORKERS:
            self.workers[name].kill()
        return 0.0

    def _take_over(self) -> float:
        killed = self._one()
        killed.kill()
        self._other_owns_everything(killed)
        return 0.0

    def _freeze_worker(self) -> float:
        frozen = self._one()
        frozen.freeze()
        seconds = self._wait(self._chance.uniform(0.2, 5.0))
        frozen.go_on()
        return seconds

    def _freeze_past_session(self) -> float:
        frozen = self._one()
        frozen.freeze()
        self._other_owns_everything(frozen)
        self._wait(self._chance.uniform(0.0, 2.0))
        frozen.go_on()
        return 0.0

    def _kill_broker(self) -> float:
        began = time.monotonic()
        self._kafka.kill()
        self._wait(self._chance.uniform(0.0, 3.0))
        self._kafka.start()
        return time.monotonic() - began

    def _freeze_broker(self) -> float:
        self._kafka.pause()
        seconds = self._wait(self._chance.uniform(0.5, 9.0))
        self._kafka.resume()
        return seconds

    def _other_owns_everything(self, lost: Worker) -> None:
        (other,) = (name for name in WORKERS if self.workers[name] is not lost)

        def owned() -> bool:
            self._supervise(but=lost)
            self._tally.count()
            return self.workers[other].owned() == self._service.partitions

        until(owned, RECOVERY_SECONDS, "the other one owns everything", else_show=self._service.tails)

    def _wait(self, seconds: float) -> float:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tally.count()
        return seconds


def run(*, kills: int, seed: int, per_second: float, folder: Path, console: Console) -> tuple[dict[str, Any], bool]:
    """Return the summary, and whether everything is right."""
    chance = random.Random(seed)
    began = time.monotonic()

    def report(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    with (
        EmbeddedKafka(folder / "kafka") as kafka,
        Service(kafka, "chaos.", folder / "service", partitions=8) as service,
        Load(service, seed=seed) as load,
        Tally(service) as tally,
    ):
        chaos = Chaos(service, tally, chance, report)
        chaos.start()
        load.start(per_second=per_second)
        until(tally.count, 60.0, "there are results", else_show=service.tails)
        # Every kind comes before any comes again, in another order each time.
        order: list[str] = []
        dealt: list[tuple[str, float, int, float]] = []
        while len(dealt) < kills:
            order = order or chance.sample(list(chaos.kinds), len(chaos.kinds))
            kind = order.pop()
            report(f"{len(dealt) + 1:3} {kind}")
            at, since_ms = time.monotonic() - began, _now_ms()
            dealt.append((kind, at, since_ms, chaos.blow(kind)))
        chaos.recovered()
        chaos.go_on(3.0)
        ended_ms = _now_ms()
        load.stop()
        report("waiting for the last results")
        try:
            tally.complete(load, 120.0)
        except AssertionError as missing:
            console.print(str(missing), markup=False, highlight=False, soft_wrap=True)
        verdict = tally.verdict(load)
        letters = _wrong_dead_letters(service, load)
        ends = [since_ms for _, _, since_ms, _ in dealt[1:]] + [ended_ms]
        blows = [
            Blow(
                kind=kind,
                at_seconds=round(at, 1),
                frozen_seconds=round(frozen, 2),
                silent_seconds=tally.longest_silence(since_ms, end),
            )
            for (kind, at, since_ms, frozen), end in zip(dealt, ends, strict=True)
        ]
        facts = {
            "seed": seed,
            "seconds": round(time.monotonic() - began),
            "events_per_second": per_second,
            "events": load.produced,
            "copies_of_events": load.duplicates,
            "effects_expected": len(load.expected),
            "exits_of_workers_not_killed": {str(code): count for code, count in sorted(chaos.exits.items())},
            "wrong_dead_letters": letters,
        }
    return _summary(facts, blows, verdict), verdict.right and not letters


def _wrong_dead_letters(service: Service, load: Load) -> int:
    """Return how many dead letters are missing, or there without reason: one for each event of `rejecting`."""
    letters = dead_letters(service)
    strange = [letter for letter in letters if letter["code"] != "run_rejected"]
    found = {json.loads(letter["value"])["data"]["n"] for letter in letters if letter["code"] == "run_rejected"}
    return len(strange) + len(found ^ {number for workflow, number in load.expected if workflow == "rejecting"})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _summary(facts: dict[str, Any], blows: Sequence[Blow], verdict: Verdict) -> dict[str, Any]:
    by_kind: dict[str, list[Blow]] = defaultdict(list)
    for blow in blows:
        by_kind[blow.kind].append(blow)
    return {
        "what": "python -m tests.e2e.chaos: kills and freezes under load, two workers, one broker, 8 partitions",
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "versions": {"headgate": version("headgate"), "kafka": load_lock().kafka},
        **facts,
        "results": verdict.results,
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled) + len(verdict.repeated_runs),
        "of_no_event": len(verdict.strangers),
        "out_of_order": len(verdict.out_of_order),
        "kills": len(blows),
        "seconds_without_results": {
            kind: {
                "times": len(several),
                "median": round(statistics.median(one.silent_seconds for one in several), 2),
                "longest": round(max(one.silent_seconds for one in several), 2),
                "longest_beyond_the_freeze": round(max(one.silent_seconds - one.frozen_seconds for one in several), 2),
            }
            for kind, several in sorted(by_kind.items())
        },
        "blows": [asdict(blow) for blow in blows],
    }


def _show(summary: dict[str, Any], console: Console) -> None:
    table = Table(title=f"seed {summary['seed']}: {summary['kills']} kills in {summary['seconds']} s")
    for name in ("what happened", "times", "median without results, s", "longest, s", "beyond the freeze, s"):
        table.add_column(name, justify="left" if name == "what happened" else "right")
    for kind, silent in summary["seconds_without_results"].items():
        figures = (silent["median"], silent["longest"], silent["longest_beyond_the_freeze"])
        table.add_row(kind, str(silent["times"]), *(f"{figure:.2f}" for figure in figures))
    console.print(table)
    console.print(
        f"{summary['events']} events (and {summary['copies_of_events']} copies), {summary['effects_expected']} effects "
        f"expected, {summary['results']} results: lost {summary['lost']}, doubled {summary['doubled']}, of no event "
        f"{summary['of_no_event']}, out of order {summary['out_of_order']}, wrong dead letters "
        f"{summary['wrong_dead_letters']}; workers that ended by themselves: {summary['exits_of_workers_not_killed']}",
        highlight=False,
        soft_wrap=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="kills and freezes (default 30)")
    parser.add_argument("--seed", type=int, default=None, help="of kinds and moments (default: another each time)")
    parser.add_argument("--rate", type=float, default=100.0, help="events per second (default 100)")
    parser.add_argument("--save", type=Path, default=None, help="write the summary as JSON")
    parser.add_argument("--folder", type=Path, default=None, help="for data and logs, kept (default: temporary)")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    console = Console()
    console.print(f"seed {seed}: repeat with --kills {given.kills} --seed {seed}", highlight=False)
    with tempfile.TemporaryDirectory(prefix="headgate-chaos-") as temporary:
        folder = given.folder or Path(temporary)
        summary, right = run(kills=given.kills, seed=seed, per_second=given.rate, folder=folder, console=console)
    _show(summary, console)
    if given.save is not None:
        given.save.write_text(json.dumps(summary, indent=1) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: two workers and a broker under a steady load of all kinds of workflows. At random moments one of them
is killed or frozen, and workers kill themselves at the named points of `tests.e2e.crashpoints`. At the end every event
has exactly one result, no run is stuck, and no step ran again after it was journaled; or this ends with 1.

    python -m tests.e2e.chaos --minutes 15 --seed 7 --save benchmarks/results/chaos-7.json
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from app.kafka.embedded import EmbeddedKafka
from tests.e2e import diary, strikes
from tests.e2e.crashpoints import POINTS
from tests.e2e.load import Load
from tests.e2e.service import Service, Worker
from tests.e2e.strikes import KILLED, Members, Slot
from tests.e2e.summary import Blow, Outcome, show, summary
from tests.e2e.tally import Tally, dead_letters, facts_of
from tests.e2e.waiting import Expired, until

RECOVERY_SECONDS: Final = 90.0
SESSION_SECONDS: Final = "12"
"""Twice the default: where others want the CPU as well, workers would lose their partitions again and again."""
STRIKE_SECONDS: Final = 45.0
"""How long a worker has to come to the point at which it is to end."""
OVERLAP: Final = 0.3
"""Share of the blows that are dealt while the service still recovers from the one before."""
FENCED: Final = 4
AT_POINTS: Final = "workers killed at a named point"
STRIKES: Final = 7
"""Of those, for each blow of every other kind."""


class Chaos:
    """Deals blows to a service, and restarts what ended as a supervisor would."""

    def __init__(
        self, service: Service, load: Load, tally: Tally, chance: random.Random, report: Callable[[str], None]
    ) -> None:
        self._service, self._tally, self._chance, self._report = service, tally, chance, report
        self._kafka = service.kafka
        self.slots = [Slot(service, name, load) for name in ("w0", "w1")]
        self._members = Members(service)
        self._points: list[str] = []
        self.kills = 0
        """Of those that are not at a point."""
        self.missed: Counter[str] = Counter()
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
            AT_POINTS: self._strike,
        }

    def start(self) -> None:
        for slot in self.slots:
            slot.start()
        self.recovered()

    def order(self) -> list[str]:
        """Return the next blows: each kind comes before any comes again, in another order each time."""
        kinds = [*self.kinds, *[AT_POINTS] * (STRIKES - 1)]
        return self._chance.sample(kinds, len(kinds))

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
            owned = [slot.worker.owned() if slot.worker.serves else 0 for slot in self.slots]
            return all(owned) and sum(owned) == self._service.partitions

        self._members.end()
        until(serving, RECOVERY_SECONDS, "both workers serve again", else_show=self._service.tails)

    def go_on(self, seconds: float) -> None:
        """Let time pass, and read results."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._supervise()
            self._tally.count()

    def _supervise(self, *, but: Slot | None = None) -> None:
        for slot in self.slots:
            if slot is but:
                continue
            ended = slot.worker
            code = slot.supervise()
            if code not in (None, KILLED):
                self.exits[code] += 1
                if code == FENCED:
                    diary.note_lost(self._service.diary, ended.pid)
                self._report(f"{ended.name} ended with {code}: {ended.log().strip().splitlines()[-1][:200]}")

    def _strike(self) -> float:
        """Have one worker or both end at a point; each point comes before any comes again."""
        aimed: list[tuple[str, Slot]] = []
        for slot in self._chance.sample(self.slots, self._chance.choice((1, 1, 2))):
            self._points = self._points or self._chance.sample(list(POINTS), len(POINTS))
            point = self._points.pop()
            most = POINTS[point].passage
            slot.aim(point, self._chance.randint(1, 2 * most) if most > 1 else 1)
            aimed.append((point, slot))
            self._report(f"    {slot.name} at {point!r}")
        before = strikes.reached(self._service)
        for _, slot in aimed:
            self._kill(slot)

        def there() -> bool:
            self._supervise()
            self._tally.count()
            if any(slot.waits_for_member for _, slot in aimed):
                self._members.join()
            return not any(slot.aiming for _, slot in aimed)

        try:
            until(there, STRIKE_SECONDS, "they are killed there")
        except Expired:
            reached = strikes.reached(self._service)
            for point, slot in aimed:
                if reached[point] == before[point]:
                    self.missed[point] += 1
                    self._report(f"    {slot.name} did not come to {point!r}")
                slot.give_up()
                self._kill(slot)  # it might come there later
        return 0.0

    def _one(self) -> Slot:
        return self._chance.choice(self.slots)

    def _kill(self, slot: Slot) -> None:
        self.kills += 1
        slot.worker.kill()

    def _restart(self) -> float:
        self._kill(self._one())
        return 0.0

    def _restart_both(self) -> float:
        for slot in self.slots:
            self._kill(slot)
        return 0.0

    def _take_over(self) -> float:
        killed = self._one()
        self._kill(killed)
        self._other_owns_everything(killed)
        return 0.0

    def _freeze(self, slot: Slot) -> Worker:
        worker = slot.worker
        worker.freeze()
        diary.note_lost(self._service.diary, worker.pid)
        return worker

    def _freeze_worker(self) -> float:
        frozen = self._freeze(self._one())
        seconds = self._wait(self._chance.uniform(0.2, 5.0))
        frozen.go_on()
        return seconds

    def _freeze_past_session(self) -> float:
        slot = self._one()
        frozen = self._freeze(slot)
        self._other_owns_everything(slot)
        self._wait(self._chance.uniform(0.0, 2.0))
        frozen.go_on()
        return 0.0

    def _kill_broker(self) -> float:
        began = time.monotonic()
        self.kills += 1
        self._kafka.kill()
        self._wait(self._chance.uniform(0.0, 3.0))
        self._kafka.start()
        return time.monotonic() - began

    def _freeze_broker(self) -> float:
        self._kafka.pause()
        seconds = self._wait(self._chance.uniform(0.5, 9.0))
        self._kafka.resume()
        return seconds

    def _other_owns_everything(self, lost: Slot) -> None:
        self._members.end()
        (other,) = (slot for slot in self.slots if slot is not lost)

        def owned() -> bool:
            self._supervise(but=lost)
            self._tally.count()
            return other.worker.owned() == self._service.partitions

        until(owned, RECOVERY_SECONDS, "the other one owns everything", else_show=self._service.tails)

    def _wait(self, seconds: float) -> float:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._tally.count()
        return seconds


def run(
    *, kills: int | None, minutes: float | None, seed: int, per_second: float, folder: Path, console: Console
) -> tuple[dict[str, Any], bool]:
    """Return the summary, and whether everything is right. It ends after so many blows, or so many minutes."""
    chance = random.Random(seed)
    began = time.monotonic()

    def report(text: str) -> None:
        console.print(f"{time.monotonic() - began:7.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    def goes_on(dealt: int) -> bool:
        if minutes is not None:
            return time.monotonic() - began < 60 * minutes
        return dealt < (kills or 0)

    with (
        EmbeddedKafka(folder / "kafka") as kafka,
        Service(
            kafka, "chaos.", folder / "service", partitions=8, worker_session_timeout_seconds=SESSION_SECONDS
        ) as service,
        Load(service, seed=seed) as load,
        Tally(service) as tally,
    ):
        chaos = Chaos(service, load, tally, chance, report)
        chaos.start()
        load.start(per_second=per_second)
        until(tally.count, 60.0, "there are results", else_show=service.tails)
        order: list[str] = []
        dealt: list[tuple[str, float, int, float]] = []
        while goes_on(len(dealt)):
            order = order or chaos.order()
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
        facts = facts_of(service)
        account = diary.read(service.diary, facts.ended)
        reached = strikes.reached(service)
        outcome = Outcome(
            verdict=verdict,
            facts=facts,
            account=account,
            wrong_dead_letters=_wrong_dead_letters(service, load),
            reached=reached,
            missed=chaos.missed,
            kills=chaos.kills + sum(reached.values()),
        )
        if not outcome.right:
            report(f"{verdict}; {facts.open=} {facts.stuck=} {facts.twice=} {account.again_after=} {account.changed=}")
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
        about = {
            "seed": seed,
            "seconds": round(time.monotonic() - began),
            "events_per_second": per_second,
            "events": load.produced,
            "copies_of_events": load.duplicates,
            "effects_expected": len(load.expected),
            "exits_of_workers_not_killed": {str(code): count for code, count in sorted(chaos.exits.items())},
        }
    return summary(about, blows, outcome), outcome.right


def _wrong_dead_letters(service: Service, load: Load) -> int:
    """Return how many dead letters are missing, or there without reason: one for each event of `rejecting`."""
    letters = dead_letters(service)
    strange = [letter for letter in letters if letter["code"] != "run_rejected"]
    found = {json.loads(letter["value"])["data"]["n"] for letter in letters if letter["code"] == "run_rejected"}
    return len(strange) + len(found ^ {number for workflow, number in load.expected if workflow == "rejecting"})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.chaos", description=__doc__)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--kills", type=int, default=None, help="kills and freezes (default 30)")
    length.add_argument("--minutes", type=float, default=None, help="how long it goes on, instead")
    parser.add_argument("--seed", type=int, default=None, help="of kinds and moments (default: another each time)")
    parser.add_argument("--rate", type=float, default=60.0, help="events per second (default 60)")
    parser.add_argument("--save", type=Path, default=None, help="write the summary as JSON")
    parser.add_argument("--folder", type=Path, default=None, help="for data and logs, kept (default: temporary)")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 100_000
    kills = 30 if given.kills is None and given.minutes is None else given.kills
    console = Console()
    console.print(f"seed {seed}: --seed {seed} chooses the same blows", highlight=False)
    with tempfile.TemporaryDirectory(prefix="headgate-chaos-") as temporary:
        found, right = run(
            kills=kills,
            minutes=given.minutes,
            seed=seed,
            per_second=given.rate,
            folder=given.folder or Path(temporary),
            console=console,
        )
    show(found, console)
    if given.save is not None:
        given.save.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())

"""What a driver of durable runs keeps account of: which were asked for, which answered, how long each took."""

from dataclasses import dataclass, field
from typing import Any

from benchmarks import watch


@dataclass(slots=True)
class Accounts:
    """Each run by its id, from the moment from which its time counts to its first answer."""

    asked: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    doubled: int = 0

    @property
    def in_flight(self) -> int:
        """Runs that were asked for and have not answered."""
        return len(self.asked) - len(self.answered)

    def ask(self, run_id: str, at_ns: int) -> None:
        """Note a run, and the time from which it counts."""
        self.asked[run_id] = at_ns

    def answer(self, run_id: str, at_ns: int, *, fault: str = "") -> None:
        """Note an answer; `fault` says what is wrong with it. Answers to runs that nobody asked for are not ours."""
        if run_id not in self.asked:
            return
        if run_id in self.answered:
            self.doubled += 1
            return
        self.answered[run_id] = at_ns
        if fault:
            self.wrong.append(f"{run_id}: {fault}")

    def summary(self, *, from_ns: int, until_ns: int) -> dict[str, Any]:
        """Return counts over all runs, answers per second between two moments, and the times of the runs asked then."""
        inside = sum(from_ns <= at < until_ns for at in self.answered.values())
        waits = sorted(
            self.answered[run_id] - at
            for run_id, at in self.asked.items()
            if from_ns <= at < until_ns and run_id in self.answered
        )
        return {
            "asked": len(self.asked),
            "answered": len(self.answered),
            "lost": self.in_flight,
            "doubled": self.doubled,
            "wrong": len(self.wrong),
            "faults": self.wrong[:3],
            "answered_in_window": inside,
            "window_seconds": round((until_ns - from_ns) / 1e9, 3),
            "per_second": round(inside * 1e9 / (until_ns - from_ns), 1),
            **watch.percentiles(waits),
        }

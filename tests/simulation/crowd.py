"""How much runs wait for: never more than the limits let them, and what was refused would have been too much."""

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from app.engine.tables.room import TOO_MANY
from tests.simulation.plans import Op

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

Name = tuple[str, str]
"""Run and key of a step."""


class Crowd:
    """Told of what the journals say of steps, a round at a time."""

    def __init__(self, sim: "Scenario") -> None:
        self._sim = sim
        self._waiting: defaultdict[int, dict[Name, int]] = defaultdict(dict)
        """By partition: for how many things each step waits that the journal has as open."""
        self._homes: dict[str, int] = {}
        self._over: set[Name] = set()
        """Steps that came to something in rounds before this one."""
        self._fresh: list[Name] = []
        self.refused = 0

    def run_is_there(self, number: int, run: str) -> None:
        self._homes[run] = number

    def run_is_gone(self, number: int, run: str) -> None:
        waiting = self._waiting[number]
        for name in [one for one in waiting if one[0] == run]:
            del waiting[name]

    def step(self, number: int, name: Name, op: Op, record: dict[str, Any]) -> None:
        """A step's record."""
        if record["s"] == "open":
            if op.kind != "run":  # the journal does not tell whether that waits for its next attempt
                self._waiting[number][name] = things(op)
            return
        self._waiting[number].pop(name, None)
        self._fresh.append(name)
        if record["s"] == "failed" and record["e"]["type"] == TOO_MANY:
            self.refused += 1
            self._had_to_be_refused(number, name, op)

    def round_is_over(self, number: int) -> None:
        limits, waiting = self._sim.shape.limits, self._waiting[number]
        self._over.update(self._fresh)
        self._fresh.clear()
        if sum(waiting.values()) > limits.waits:
            self._sim.broken(f"the runs of partition {number} wait for {waiting}, more than {limits.waits}")
        by_run: defaultdict[str, int] = defaultdict(int)
        for (run, _), count in waiting.items():
            by_run[run] += count
        if any(one > limits.waits_per_run for one in by_run.values()):
            self._sim.broken(f"runs wait for {dict(by_run)}, more than {limits.waits_per_run}")

    def _had_to_be_refused(self, number: int, name: Name, op: Op) -> None:
        """Count all that may have waited then: what functions had asked for and what was not over before this round."""
        limits = self._sim.shape.limits
        asked = self._sim.watch.seen.asked
        ended: Collection[str] = self._sim.watch.ended_before
        mine = most = 0
        for other in asked:
            if other in self._over or other[0] in ended or self._homes.get(other[0], number) != number:
                continue
            count = things(self._sim.plans[other[0].partition(":")[0]].ops[other[1]])
            most += count
            mine += count if other[0] == name[0] else 0
        if mine <= limits.waits_per_run and most <= limits.waits:
            self._sim.broken(
                f"step {name} ({op}) was refused, though its partition waits for {most}, its run for {mine}"
            )


def things(op: Op) -> int:
    """For how many things a step waits, at most."""
    if op.kind in ("any", "all"):
        return max(1, len(op.on))
    return 1 if op.waits or op.calls or op.kind in ("run", "sleep", "until") else 0

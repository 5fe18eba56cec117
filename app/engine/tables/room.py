"""How much the runs of a partition wait for, and whether there is room for more.

Each event, time, decision or list of children that a step waits for counts one, and so does a step that is to be tried
again. It is counted where the run lives, not where its waits are registered: that takes no question to another
partition, and the sum over all partitions bounds what any registry may hold.
"""

from typing import Final

from app.engine.tables.recorded import Step
from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import Ask, Await, EventCondition, Execute, Fault, Invoke, Note

TOO_MANY: Final = "TooManyWaits"
_MOST_A_STEP: Final = 100
"""Conditions that the runtime lets a step have: below, so many steps need not be counted one by one."""


def asks_for(ask: Ask) -> int:
    """Return for how many things a step waits that asks for this; 0 for one that is over at once or is executed."""
    if isinstance(ask, Await):
        return max(1, sum(isinstance(one, EventCondition) for one in ask.conditions))
    return 0 if isinstance(ask, Note | Execute) or (isinstance(ask, Invoke) and not ask.wait) else 1


def taken_by(step: Step) -> int:
    """Return for how many things an open step waits."""
    return (1 if step.due_ms else 0) if isinstance(step.ask, Execute) else asks_for(step.ask)


def refusal(state: State, run: Run, key: str, more: int) -> Fault | None:
    """Say why step `key` may not wait for `more` things, None if it may."""
    limits, steps = state.limits, run.steps
    if steps is not None and len(steps.open) * _MOST_A_STEP + more > limits.waits_per_run:
        taken = sum(map(taken_by, steps.open.values()))
        if taken + more > limits.waits_per_run:
            return _fault(
                state,
                f"step {key!r} would wait for {more} more, and run {run.id!r} waits for {taken} already: at most "
                f"{limits.waits_per_run} (limits.waits_per_run); wait for less at once, or give parts of it to "
                "children (ctx.step.invoke_and_wait)",
            )
    if state.waiting + more > limits.waits:
        return _fault(
            state,
            f"step {key!r} would wait for {more} more, and the runs of partition {state.partition} wait for "
            f"{state.waiting} already: at most {limits.waits} (its share of limits.waits); raise that if workers have "
            "memory for it, or cancel runs that wait for what never comes",
        )
    return None


def _fault(state: State, message: str) -> Fault:
    state.counters.crowded += 1
    return Fault(TOO_MANY, message)

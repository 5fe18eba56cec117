"""Runs whose workflow is another one now, or is retired. Called when workflows change, by `workflows` and `waking`."""

from typing import Final

from app.engine.effects import Effects
from app.engine.runs import rising, runs
from app.engine.tables import timers
from app.engine.tables.run import RunStatus
from app.engine.tables.state import State, Timer
from topics import facts

_CANCELLED: Final[str] = facts.RunStatus.CANCELLED.value


def renew(state: State) -> None:
    """Workflows changed: what waits for its next attempt or to be called anew gets the workflow as it is now.

    An attempt that goes on keeps the one that it began with.
    """
    for run in state.runs.awake.values():
        if run.status in _RENEWED and run.workflow.id in state.loaded:
            run.workflow = state.loaded[run.workflow.id]
            runs.set_deadline(state, run)
    state.runs.renew(state.loaded, lambda due_ms, run_id: timers.arm(state, due_ms, Timer.DEADLINE, run_id))


_RENEWED: Final = frozenset({RunStatus.RETRYING, RunStatus.COLD, RunStatus.STUCK})


def retire(state: State, effects: Effects) -> None:
    """Give up the runs of retired workflows, but for those that go on here."""
    if not state.retired:
        return
    for run in [one for one in state.runs.awake.values() if one.workflow.id in state.retired]:
        if run.status is RunStatus.WAITING:
            runs.end(state, run, _CANCELLED, runs.retired(run), effects)
        elif run.status in (RunStatus.ASLEEP, RunStatus.COLD, RunStatus.STUCK):
            rising.wake(state, run)
    retire_more(state)


MOST_RETIRED: Final = 1_000
"""Runs at rest that are read back together to be given up."""


def retire_more(state: State) -> None:
    """Give up some more of the runs at rest whose workflows are retired."""
    if state.runs.resting:
        for run_id in state.runs.of_workflows(state.retired, MOST_RETIRED):
            rising.wake(state, state.runs[run_id])

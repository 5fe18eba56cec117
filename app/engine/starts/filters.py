"""An author's filter is asked about an event, between two rounds. Used by `lanes` and `wishes`."""

from typing import Any

from app.engine.runs import letters
from app.engine.tables.state import State
from app.engine.values import errors
from headgate.definition import Filter, Workflow
from headgate.filters import passes
from topics.envelope import Envelope


def answer(
    state: State,
    workflow: Workflow,
    filter_: Filter,
    event: Any,
    envelope: Envelope,
    *,
    name: str,
    remedy: str,
    then: str = "",
) -> bool | None:
    """Return what the filter says of `event`, None if it raised: then the event is a dead letter, `<name>_failed`.

    `name` is the argument of `@workflow`; `then` ends the reason.
    """
    try:
        return passes(filter_(event))
    except BaseException as error:  # noqa: BLE001 also sys.exit() in an author's filter concerns this event alone
        what = f"the {name} of workflow {workflow.id!r} raised {type(error).__name__}: {errors.words(error)}"
        letters.bury(
            state,
            (envelope,),
            code=f"{name}_failed",
            reason=what + then,
            remedy=remedy,
            run_id=None,
            workflow_id=workflow.id,
        )
        return None

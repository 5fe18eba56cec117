"""Runs as tests of workflows see them (`headgate.testing`): what goes on and for what it waits, and how it ended."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from topics import told
from topics.facts import RunFact
from topics.timestamps import milliseconds
from topics.told import Doing, StepState

Record = Mapping[str, Any]
_TROUBLES: Final[Mapping[str, tuple[str, ...]]] = {
    Doing.STUCK: (RunFact.STUCK,),
    Doing.RETRYING: (RunFact.RETRIED, RunFact.STEP_RETRIED),
}
"""Of what a run is doing, the facts that say why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStep:
    """A step that has come to nothing yet, as `headgate runs show` tells of it."""

    key: str
    kind: str
    """await (events), suspend, sleep, invoke (other runs) or run (a function)."""
    state: str
    """open while it waits, running while its function is executed, retrying between two attempts of it."""
    what: str
    """What it waits for or calls, such as `wait_for_event topic='orders/paid' event_key=None`."""
    until: datetime | None
    """When it waits no more, None for as long as it takes; of one that is retried when that is."""
    data: Any
    """What `suspend` shows to whoever decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that goes on or has ended, as `headgate runs show` tells of it."""

    run_id: str
    workflow_id: str
    status: str
    """completed, failed, rejected or cancelled; running, waiting, retrying or stuck while it has not ended."""
    reason: str | None
    """Why it is stuck or retried, has failed, was rejected or cancelled: `<type>: <message>`."""
    key: str | None
    open_steps: tuple[OpenStep, ...]
    """Those of a run that has not ended, in the order in which they were told of."""


def read(facts: Iterable[Record], results: Iterable[Record]) -> list[Run]:
    """Return the runs of which `headgate.runs` and `headgate.results` tell, in the order in which they began."""
    told_of: dict[str, list[Record]] = {}
    for fact in facts:
        told_of.setdefault(fact["run_id"], []).append(fact)
    ended = {one["run_id"]: one for one in results}
    began = {run_id: few[0]["at"] for run_id, few in told_of.items()}
    began |= {run_id: one["started_at"] for run_id, one in ended.items()}
    return [_read(told_of.get(one, ()), ended.get(one)) for one in sorted(began, key=lambda one: began[one])]


def _read(facts: Sequence[Record], ended: Record | None) -> Run:
    """Return what the facts of one run say together, and its result, where it has one."""
    listener = told.Listener()
    for fact in facts:
        listener.hear(fact)
    status = listener.status if ended is None else ended["status"]
    errors = [fact["error"] for fact in facts if fact["fact"] in _TROUBLES.get(status, ())]
    error = (errors or [None])[-1] if ended is None else ended["error"]
    about = ended or facts[0]
    return Run(
        run_id=about["run_id"],
        workflow_id=about["workflow_id"],
        status=str(status),
        reason=None if error is None else f"{error['type']}: {error['message']}",
        key=about.get("key"),
        open_steps=() if ended is not None else tuple(_open(facts)),
    )


def _open(facts: Sequence[Record]) -> Iterator[OpenStep]:
    shown = {fact["step"]: fact.get("data") for fact in facts if fact["fact"] == RunFact.STEP_WAITING}
    for step in told.steps_of(facts):
        if step["state"] not in (StepState.DONE, StepState.FAILED):
            yield OpenStep(
                key=step["step"],
                kind=step["kind"],
                state=str(step["state"]),
                what=step["what"],
                until=_moment(step["retry_at" if step["state"] == StepState.RETRYING else "until"]),
                data=shown.get(step["step"]),
            )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromtimestamp(milliseconds(text) / 1000, UTC)

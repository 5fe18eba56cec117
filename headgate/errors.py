"""The errors that an author meets.

HeadgateError
├── Reject             raised by an author: this input can never succeed
├── RetryLater         raised by an author: try again after a delay of one's own choice
├── DefinitionError    a workflow is written wrongly; seen when its module is loaded
├── EventTimeout       an awaited event, or whoever was to resume the run, did not come in time
├── StepError          a step failed for good
│   ├── ChildError     a run that this one invoked did not complete
│   └── TooManyWaits   runs wait for as much as a limit allows already
├── HistoryMismatch    the code asks for other steps than the journal has of the run
├── WorkflowTimeout    a run took longer than its workflow allows
└── DuplicateStepKey   two steps of one run have the same key

BaseException
└── Pause              the run waits; not an error and never to be caught
"""

from collections.abc import Sequence
from typing import Any, Final

from topics.verdicts import HeadgateError, Reject, RetryLater

__all__ = [
    "ChildError",
    "DefinitionError",
    "DuplicateStepKey",
    "EventTimeout",
    "HeadgateError",
    "HistoryMismatch",
    "Pause",
    "Reject",
    "RetryLater",
    "StepError",
    "TooManyWaits",
    "WorkflowTimeout",
]


class DefinitionError(HeadgateError):
    """A workflow is written wrongly. Names the workflow, the place and the remedy."""

    exit_code = 2
    """Of the command that it ends: wrong usage, told without a traceback."""

    def __init__(self, workflow_id: str, place: str, problem: str, remedy: str) -> None:
        super().__init__(f"workflow {workflow_id!r} ({place}): {problem}; {remedy}")
        self.workflow_id = workflow_id
        self.place = place
        self.problem = problem
        self.remedy = remedy


class EventTimeout(HeadgateError):
    """What a step waited for did not come in time: an event, or somebody who resumes the run.

    `topic` is that of the event, several joined by ", ", empty where it waited for times alone; None where the step
    waited to be resumed.
    """

    def __init__(self, step_key: str, topic: str | None, timeout_seconds: float) -> None:
        what = f"saw no event on {topic!r}" if topic else "did not come to the time that it waits for"
        if topic is None:
            what = "was not resumed"
        super().__init__(
            f"step {step_key!r} {what} within {timeout_seconds:g} s; "
            "catch EventTimeout to go on without it, or wait longer"
        )
        self.step_key = step_key
        self.topic = topic
        self.timeout_seconds = timeout_seconds


class StepError(HeadgateError):
    """A step failed for good: its retries are used up, or its function rejected its input.

    It is recorded, so that it is raised again when the run is replayed, without another try. `error_type` is the name
    of the exception that the function raised last, `message` its text.
    """

    def __init__(self, step_key: str, error_type: str, message: str) -> None:
        super().__init__(f"step {step_key!r} failed with {error_type}: {message}; catch StepError to go on without it")
        self.step_key = step_key
        self.error_type = error_type
        self.message = message


class ChildError(StepError):
    """A run that a step invoked did not complete: the first of them, in the order of the list.

    `status` is the child's ("failed", "rejected", "cancelled"), `number` its place among the step's children from 0.
    `results` has what the children returned, None for those that did not complete.
    """

    def __init__(
        self,
        step_key: str,
        error_type: str,
        message: str,
        *,
        workflow_id: str = "",
        status: str = "failed",
        number: int = 0,
        results: Sequence[Any] = (),
    ) -> None:
        super().__init__(step_key, error_type, message)
        ended = _ENDED.get(status, status)
        text = f"step {step_key!r}: the run of workflow {workflow_id!r} {ended} with {error_type}: {message}"
        self.args = (f"{text}; catch ChildError to go on without it",)
        self.workflow_id = workflow_id
        self.status = status
        self.number = number
        self.results = tuple(results)


class TooManyWaits(StepError):
    """A step would wait, and its run or its partition waits for as much already as a limit allows.

    Recorded like any failure of a step: nothing was registered, and nothing that waits already is lost.
    """

    def __init__(self, step_key: str, message: str) -> None:
        super().__init__(step_key, "TooManyWaits", message)
        self.args = (message,)


_ENDED: Final = {"failed": "failed", "rejected": "was rejected", "cancelled": "was cancelled"}


class HistoryMismatch(HeadgateError):
    """The code asks for other steps than those that the journal has of the run.

    Nothing is lost: the run is stuck until its code matches again and `headgate runs retry` is called, or until it is
    cancelled. `recorded` is what the journal has, `attempted` what the code asked for; None for nothing.
    """

    def __init__(self, step_key: str, recorded: str | None, attempted: str | None) -> None:
        if recorded is None:
            fact = f"asks for step {step_key!r} ({attempted}), which is not recorded, before steps that are"
        elif attempted is None:
            fact = f"ended without asking for step {step_key!r} ({recorded}), which is recorded"
        else:
            fact = f"asks in step {step_key!r} for {attempted}, recorded is {recorded}"
        super().__init__(
            f"the workflow {fact}; put its code back to what it was for this run, and decide nothing in it by the "
            "clock or by chance outside of steps; then `headgate runs retry ID` lets the run go on"
        )
        self.step_key = step_key
        self.recorded = recorded
        self.attempted = attempted


class WorkflowTimeout(HeadgateError):
    """A run took longer than the `timeout` of its workflow."""

    def __init__(self, workflow_id: str, run_id: str, timeout_seconds: float) -> None:
        super().__init__(
            f"run {run_id!r} took longer than the {timeout_seconds:g} s that workflow {workflow_id!r} allows; "
            "raise timeout= in its @workflow, or make it shorter"
        )
        self.workflow_id = workflow_id
        self.run_id = run_id
        self.timeout_seconds = timeout_seconds


class DuplicateStepKey(HeadgateError):
    """Two steps of one run have the same key, so their results could not be told apart."""

    def __init__(self, step_key: str, first_place: str, second_place: str) -> None:
        super().__init__(
            f"the step key {step_key!r} is used at {first_place} and again at {second_place}; "
            "give each step of a run a key of its own, in a loop for example f'charge-{item_id}'"
        )
        self.step_key = step_key
        self.first_place = first_place
        self.second_place = second_place


class Pause(BaseException):
    """Unwinds a function whose run waits. From BaseException, so that `except Exception` cannot swallow it."""

"""The errors that an author meets.

HeadgateError
├── Reject             raised by an author: this input can never succeed
├── RetryLater         raised by an author: try again after a delay of one's own choice
├── DefinitionError    a workflow is written wrongly; seen when its module is loaded
├── EventTimeout       an awaited event did not come in time
├── StepError          a step failed for good
├── WorkflowTimeout    a run took longer than its workflow allows
└── DuplicateStepKey   two steps of one run have the same key

BaseException
└── Pause              the run waits; not an error and never to be caught
"""

from topics.verdicts import HeadgateError, Reject, RetryLater

__all__ = [
    "DefinitionError",
    "DuplicateStepKey",
    "EventTimeout",
    "HeadgateError",
    "Pause",
    "Reject",
    "RetryLater",
    "StepError",
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
    """The event for which a step waited did not come in time."""

    def __init__(self, step_key: str, topic: str, timeout_seconds: float) -> None:
        super().__init__(
            f"step {step_key!r} saw no event on {topic!r} within {timeout_seconds:g} s; "
            "catch EventTimeout to go on without it, or wait longer"
        )
        self.step_key = step_key
        self.topic = topic
        self.timeout_seconds = timeout_seconds


class StepError(HeadgateError):
    """A step failed for good: its retries are used up, or its function rejected its input."""

    def __init__(self, step_key: str, error_type: str, message: str) -> None:
        super().__init__(f"step {step_key!r} failed with {error_type}: {message}; catch StepError to go on without it")
        self.step_key = step_key
        self.error_type = error_type
        self.message = message


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

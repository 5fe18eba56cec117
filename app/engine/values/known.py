"""What is known of a workflow without its code: which events it takes, and how. Announced, and kept in the journal.

An owner that lacks a workflow's code matches its events all the same and lets them sleep, so it must know the triggers
from the journal alone: it may take a partition before it has heard an announcement that the owner before it had heard.
What is code, a filter, decides once it is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self, final

from headgate.arguments import MAX_ID
from headgate.definition import BatchBy, Order, Workflow
from headgate.schedule import CatchUp, Schedule
from topics import keys
from topics.patterns import Pattern
from topics.reserved import start_topic
from topics.verdicts import MAX_DELAY_SECONDS

_MOST_EVENTS: Final = 2**31 - 1
"""Of a batch, whatever a release to come allows: all numbers of the journal have to be numbers of JSON."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A workflow as one announcement describes it."""

    id: str
    version: str
    triggers: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    batch_size: int
    batch_timeout_seconds: float | None
    batch_by: BatchBy
    order: Order
    announced_ms: int
    """Of two definitions of one workflow the later announced is the newer; 0 for one that nobody announced."""
    cancel_on: tuple[str, ...] = ()
    cancel_patterns: tuple[Pattern, ...] = ()
    has_cancel_filter: bool = False
    on_failure: str | None = None
    schedule: Schedule | None = None
    """As it was announced; only the workflow's code says that this release can read its cron text."""

    @classmethod
    def of(cls, workflow: Workflow, *, announced_ms: int = 0) -> Self:
        """Return what an announcement says of `workflow`."""
        return cls(
            id=workflow.id,
            version=workflow.version,
            triggers=workflow.triggers,
            patterns=workflow.patterns,
            batch_size=workflow.batch_size,
            batch_timeout_seconds=workflow.batch_timeout_seconds,
            batch_by=workflow.batch_by,
            order=workflow.order,
            announced_ms=announced_ms,
            cancel_on=workflow.cancel_on,
            cancel_patterns=workflow.cancel_patterns,
            has_cancel_filter=workflow.cancel_filter is not None,
            on_failure=workflow.on_failure,
            schedule=workflow.schedule,
        )

    @classmethod
    def read(cls, workflow_id: str, found: Mapping[str, Any], *, announced_ms: int) -> Self:
        """Return what `found` describes, an announcement or an entry of the journal.

        Raises LookupError, TypeError or ValueError when it cannot be read; fields of a newer release are passed over.
        """
        triggers = tuple(found["triggers"])
        timeout_seconds = found["batch_timeout_seconds"]
        cancel_on = tuple(found.get("cancel_on", ()))
        on_failure = found.get("on_failure")
        return cls(
            id=workflow_id,
            version=str(found["version"]),
            triggers=triggers,
            patterns=tuple(Pattern.parse(one) for one in triggers),
            batch_size=int(found["batch_size"]),
            batch_timeout_seconds=None if timeout_seconds is None else float(timeout_seconds),
            batch_by=BatchBy(found["batch_by"]),
            order=Order(found["order"]),
            announced_ms=announced_ms,
            cancel_on=cancel_on,
            cancel_patterns=tuple(Pattern.parse(one) for one in cancel_on),
            has_cancel_filter=bool(found.get("has_cancel_filter")),
            on_failure=None if on_failure is None else str(on_failure),
            schedule=_schedule_of(found.get("schedule")),
        )

    def matches(self, topic: str) -> bool:
        """Say whether an event on the logical `topic` starts it: by a trigger, or by name."""
        return any(pattern.matches(topic) for pattern in self.patterns) or topic == start_topic(self.id)


def described(definition: Definition) -> dict[str, Any]:
    """Return the journal's entry of `definition`. What it does not have, of what came later, is not mentioned."""
    entry: dict[str, Any] = {
        "version": definition.version,
        "triggers": definition.triggers,
        "batch_size": definition.batch_size,
        "batch_timeout_seconds": definition.batch_timeout_seconds,
        "batch_by": definition.batch_by.value,
        "order": definition.order.value,
        "announced": definition.announced_ms,
    }
    if definition.cancel_on:
        entry["cancel_on"] = definition.cancel_on
    if definition.has_cancel_filter:
        entry["has_cancel_filter"] = True
    if definition.on_failure is not None:
        entry["on_failure"] = definition.on_failure
    if definition.schedule is not None:
        entry["schedule"] = schedule_value(definition.schedule)
    return entry


def schedule_value(schedule: Schedule) -> dict[str, str]:
    """Return `schedule` as announcements and the journal hold it."""
    return {"cron": schedule.cron, "timezone": schedule.timezone, "catch_up": schedule.catch_up.value}


def _schedule_of(found: Mapping[str, Any] | None) -> Schedule | None:
    if found is None:
        return None
    return Schedule(cron=str(found["cron"]), timezone=str(found["timezone"]), catch_up=CatchUp(found["catch_up"]))


def from_announcement(workflow_id: str, found: Mapping[str, Any], *, announced_ms: int) -> Definition:
    """Return the definition in an announcement. It goes into the journal of each partition, and anybody may have
    written it, so what no release could mean is refused here: a value that the journal cannot hold would end every
    worker, again at each start. Raises LookupError, TypeError or ValueError.
    """
    made = Definition.read(workflow_id, found, announced_ms=announced_ms)
    if not keys.is_workflow_id(workflow_id) or len(workflow_id) > MAX_ID:
        raise ValueError(f"{workflow_id[:MAX_ID]!r} is no id of a workflow")
    if not 1 <= made.batch_size <= _MOST_EVENTS:
        raise ValueError(f"batch_size is not from 1 to {_MOST_EVENTS}")
    if made.batch_timeout_seconds is not None and not 0 <= made.batch_timeout_seconds <= MAX_DELAY_SECONDS:
        raise ValueError(f"batch_timeout_seconds is not from 0 to {MAX_DELAY_SECONDS}")
    return made


def from_journal(workflow_id: str, found: Mapping[str, Any]) -> Definition:
    """Return the definition in an entry of the journal. Raises LookupError, TypeError or ValueError."""
    return Definition.read(workflow_id, found, announced_ms=int(found["announced"]))

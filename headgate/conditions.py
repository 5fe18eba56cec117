"""What `ctx.step.wait_for_any` and `wait_for_all` wait for: events, and time that passes.

both = [event_on("payments/settled", event_key=order), after(days=3)]
number, event = await ctx.step.wait_for_any("settled", both)
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from headgate.event import Event

Since = Literal["run_start", "now"] | datetime | Event[Any]
"""From when on a wait sees events: since the run's first event was appended, since it is asked for, a time, an event
of this run (one that started it, or that it received)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOn:
    """An event on a topic, with the key and the type where they are given, that `filter` takes."""

    topic: str
    event_key: str | None
    event_type: str | None
    filter: Callable[[Event[Any]], bool] | None
    since: Since


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """So much time after the step was asked for the first time: `seconds`, and what there is of `more` by its units.

    It is as it was given: the step says what is wrong with it.
    """

    seconds: float | timedelta
    more: tuple[tuple[str, float], ...] = ()


Condition = EventOn | After


class Met(NamedTuple):
    """Which condition of `wait_for_any` was met first: its place in the list from 0, and its event (None for time)."""

    number: int
    event: Event[Any] | None


def event_on(
    topic: str,
    *,
    event_key: str | None = None,
    event_type: str | None = None,
    filter: Callable[[Event[Any]], bool] | None = None,  # noqa: A002 as in @workflow
    since: Since = "run_start",
) -> EventOn:
    """Return the condition that an event comes. The arguments are those of `ctx.step.wait_for_event`."""
    return EventOn(topic=topic, event_key=event_key, event_type=event_type, filter=filter, since=since)


def after(
    *, seconds: float | timedelta = 0, minutes: float = 0, hours: float = 0, days: float = 0, weeks: float = 0
) -> After:
    """Return the condition that so much time has passed since the step was asked for the first time."""
    more = {"minutes": minutes, "hours": hours, "days": days, "weeks": weeks}
    return After(seconds=seconds, more=tuple([(unit, number) for unit, number in more.items() if number]))

"""How far a step that waits for conditions has come: values, and their form in the journal. Used by `steps`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from app.engine.values.asks import Ask, Await, EventCondition, Sleep
from topics import commands, keys, rawevents
from topics.envelope import Envelope


@dataclass(slots=True)
class Condition:
    """One of the conditions. `met` is what it was met by: a raw event, None for a sleep; `over` without being met."""

    event: dict[str, Any] | None = None
    met: bool = False
    over: bool = False
    """It was met, it expired, or it is not wanted any more."""
    expired: bool = False
    candidates: list[Envelope] = field(default_factory=list)
    """Matches that the author's filter has not judged yet."""
    judging: bool = False
    """Whether the runtime has the first of them."""
    owed: int = 0
    """How many were judged since the registry was asked for more, as `app.engine.waits.streams` counts them."""
    refused: int = 0
    """How many the filter refused, as far as they are told of."""
    since_ms: int = 0
    seen: list[str] = field(default_factory=list)
    digest: str | None = None
    """Of the event that it was met by (hex), and the size of that."""
    size: int = 0


MOST_REFUSED: Final = 8
"""Refusals of a condition that are told of: a filter may look at any number of events."""


@dataclass(slots=True)
class Progress:
    conditions: list[Condition]


def described(progress: Progress) -> list[dict[str, Any]]:
    """Return the journal's form. What a restored one does not need is left out."""
    made: list[dict[str, Any]] = []
    for one in progress.conditions:
        about: dict[str, Any] = {"since": one.since_ms}
        if one.seen:
            about["seen"] = one.seen
        if one.met:
            about["met"] = one.event
        if one.over:
            about["over"] = True
        if one.expired:
            about["expired"] = True
        if one.owed:
            about["owed"] = one.owed
        if one.refused:
            about["refused"] = one.refused
        if one.candidates:
            about["candidates"] = [commands.raw_event(event) for event in one.candidates]
        made.append(about)
    return made


def events(progress: Progress) -> list[Envelope]:
    """Return the events by which conditions were met."""
    return [rawevents.event_of(one.event) for one in progress.conditions if one.met and one.event is not None]


def since_ms(progress: Progress, ask: Ask) -> list[int]:
    """Return from when on events count, of each condition that is an event."""
    assert isinstance(ask, Await)
    of = zip(ask.conditions, progress.conditions, strict=True)
    return [one.since_ms for asked_for, one in of if isinstance(asked_for, EventCondition)]


def restored(found: list[dict[str, Any]]) -> Progress:
    met = [None if one.get("met") is None else rawevents.event_of(one["met"]) for one in found]
    return Progress(
        [
            Condition(
                digest=None if event is None else keys.digest_of(event).hex(),
                size=0 if event is None else event.size,
                event=one.get("met"),
                met="met" in one,
                over=one.get("over", False),
                expired=one.get("expired", False),
                candidates=[commands.event_of(raw) for raw in one.get("candidates", ())],
                owed=one.get("owed", 0),
                refused=one.get("refused", 0),
                since_ms=one["since"],
                seen=one.get("seen", []),
            )
            for one, event in zip(found, met, strict=True)
        ]
    )


def asked(ask: Await) -> dict[str, Any]:
    return {
        "need": ask.need,
        "deadline": ask.deadline_ms,
        "conditions": [
            {"until": one.until_ms}
            if isinstance(one, Sleep)
            else {
                "topic": one.topic,
                "key": one.event_key,
                "type": one.event_type,
                "since": one.since_ms,
                "stream": one.stream,
            }
            for one in ask.conditions
        ],
    }


def ask(found: Mapping[str, Any]) -> Await:
    conditions: list[EventCondition | Sleep] = [
        Sleep(until_ms=one["until"])
        if "until" in one
        else EventCondition(
            topic=one["topic"],
            event_key=one["key"],
            event_type=one["type"],
            since_ms=one["since"],
            stream=one["stream"],
        )
        for one in found["conditions"]
    ]
    return Await(conditions=tuple(conditions), need=found["need"], deadline_ms=found["deadline"])

"""What the facts of one run say when they are read together: what it is doing, and how each of its steps went.

Read by the gateway and by commands. Facts are JSON objects as `topics.facts` makes them, in the order of their log.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from topics import keys
from topics.facts import RunFact, RunStatus
from topics.timestamps import milliseconds

Fact = Mapping[str, Any]
_PUBLISHES: Final = "publish_event "
"""How the `what` of a step begins that publishes an event, whose id is derived from its key."""


class Doing(StrEnum):
    """What a run that goes on is doing, as far as facts tell."""

    RUNNING = "running"
    WAITING = "waiting"
    """A step waits for something, and none is to be tried again."""
    RETRYING = "retrying"
    """An attempt failed, of the run or of a step, and another one follows."""
    STUCK = "stuck"
    """Its function no longer matches its steps; somebody has to decide."""


STATUSES: Final = (*(one.value for one in RunStatus), *(one.value for one in Doing))
"""Every status that a run can be listed with."""


class StepState(StrEnum):
    OPEN = "open"
    RUNNING = "running"
    """Its function has been executed for a second, and goes on."""
    DONE = "done"
    FAILED = "failed"
    RETRYING = "retrying"


class Listener:
    """Hears the facts of one run and knows its status."""

    __slots__ = ("_open", "_settled", "status")

    def __init__(self) -> None:
        self.status: str = Doing.RUNNING
        self._open: dict[str, Doing] = {}
        self._settled = False
        """Whether only a fact about the run itself changes its status."""

    def hear(self, fact: Fact) -> None:
        """Take one more fact. What is none changes nothing."""
        name, step = fact.get("fact"), str(fact.get("step"))
        match name:
            case RunFact.STEP_WAITING:
                self._open[step] = Doing.WAITING
            case RunFact.STEP_RETRIED:
                self._open[step] = Doing.RETRYING
            case RunFact.STEP_STARTED:
                self._open[step] = Doing.RUNNING
            case RunFact.STEP_FINISHED:
                self._open.pop(step, None)
            case RunFact.STARTED | RunFact.RESUMED:
                self._settled = False
            case RunFact.RETRIED:
                self._begin_anew()
                self.status = Doing.RETRYING
                return
            case RunFact.STUCK:
                self._begin_anew()
                self.status, self._settled = Doing.STUCK, True
            case RunFact.FINISHED:
                self.status, self._settled = str(fact.get("status")), True
            case _:
                return
        if not self._settled:
            self.status = min(self._open.values(), default=Doing.RUNNING)  # in this order: retrying, running, waiting

    def _begin_anew(self) -> None:
        """What was executed is forgotten: the next attempt asks for it again."""
        self._open = {step: doing for step, doing in self._open.items() if doing is not Doing.RUNNING}


def steps_of(facts: Iterable[Fact]) -> list[dict[str, Any]]:
    """Return the steps of a run in the order in which they were first told of.

    Of a function that is being executed for the first time nothing is told in its first second. `queued_ms` is from
    when the step was asked for until its last attempt began, `took_ms` from then to its end; `received` are the events
    that it waited for, `refused` the first of those that its filter refused, `published` is the id of the event that it
    published. `children` are the ids of the first runs that it started, `children_count` says how many it started.
    """
    found: dict[str, dict[str, Any]] = {}
    over = False
    for fact in facts:
        over = over or fact.get("fact") == RunFact.FINISHED
        if fact.get("fact") in _LEAVES:
            for step in found.values():
                if step["state"] == StepState.RUNNING:
                    step["state"] = StepState.OPEN
        key = fact.get("step")
        if isinstance(key, str) and str(fact.get("fact")) in _READERS:
            step = found.setdefault(
                key, dict.fromkeys(_FIELDS) | {"step": key, "received": [], "refused": [], "children": []}
            )
            _READERS[str(fact["fact"])](step, fact)
    if over:  # nothing waits any more
        for step in found.values():
            step["waits_for"] = step["retry_at"] = None
    return list(found.values())


_LEAVES: Final = (RunFact.RETRIED, RunFact.STUCK, RunFact.FINISHED)
"""Facts after which no function of a step goes on."""
_FIELDS: Final = (
    "step", "kind", "what", "state", "asked_at", "started_at", "finished_at", "queued_ms", "took_ms", "attempts",
    "waits_for", "since", "until", "retry_at", "error", "received", "refused", "published", "events_since",
    "children", "children_count",
)  # fmt: skip


def _waiting(step: dict[str, Any], fact: Fact) -> None:
    what = fact.get("what")
    step |= {
        "kind": fact.get("kind"),
        "what": what,
        "state": StepState.OPEN,
        "asked_at": fact.get("since"),
        "waits_for": what,
        "since": fact.get("since"),
        "until": fact.get("until"),
        "events_since": _times(fact),
    } | _children(fact)


def _started(step: dict[str, Any], fact: Fact) -> None:
    step |= {
        **{name: fact.get(name) for name in ("kind", "what", "asked_at", "started_at")},
        "state": StepState.RUNNING,
        "queued_ms": _between(fact.get("asked_at"), fact.get("started_at")),
        "attempts": fact.get("attempt"),
        "retry_at": None,
    }


def _refused(step: dict[str, Any], fact: Fact) -> None:
    step["refused"] += _events(fact)


def _retried(step: dict[str, Any], fact: Fact) -> None:
    # Before facts said what was retried, they named the step alone: what is known of it stays.
    known = {name: fact[name] for name in ("kind", "what", "asked_at") if fact.get(name) is not None}
    step |= {
        **known,
        "state": StepState.RETRYING,
        "attempts": fact.get("attempt"),
        "error": fact.get("error"),
        "retry_at": fact.get("retry_at"),
    }


def _finished(step: dict[str, Any], fact: Fact) -> None:
    asked, started, finished = (fact.get(name) for name in ("asked_at", "started_at", "finished_at"))
    kind, what, error = fact.get("kind"), fact.get("what"), fact.get("error")
    step |= {
        "kind": kind,
        "what": what,
        "state": StepState.DONE if error is None else StepState.FAILED,
        "asked_at": asked,
        "started_at": started,
        "finished_at": finished,
        "queued_ms": _between(asked, started),
        "took_ms": _between(started, finished),
        "attempts": fact.get("attempts"),
        "waits_for": None,
        "retry_at": None,
        "error": error,
        "received": _events(fact),
    } | _children(fact)
    if kind == "note" and str(what).startswith(_PUBLISHES) and error is None:
        step["published"] = keys.published_event_id(str(fact.get("run_id")), step["step"])


def _events(fact: Fact) -> list[dict[str, Any]]:
    """Return where the events of a fact are; of what somebody else wrote there, nothing."""
    found = fact.get("events")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _times(fact: Fact) -> list[str] | None:
    found = fact.get("events_since")
    return list(map(str, found)) if isinstance(found, list) else None


def _children(fact: Fact) -> dict[str, Any]:
    """Return the runs that the step started, where the fact tells of them."""
    return {name: fact[name] for name in ("children", "children_count") if fact.get(name)}


def _between(start: Any, end: Any) -> int | None:
    try:
        return milliseconds(end) - milliseconds(start)
    except (TypeError, ValueError):
        return None


_READERS: Final = {
    RunFact.STEP_WAITING.value: _waiting,
    RunFact.STEP_STARTED.value: _started,
    RunFact.STEP_REFUSED.value: _refused,
    RunFact.STEP_RETRIED.value: _retried,
    RunFact.STEP_FINISHED.value: _finished,
}

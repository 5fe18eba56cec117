"""Tests of workflows: the whole service in memory, in virtual time. A pytest plugin: the fixture `headgate_service`.

from headgate.testing import Service

def test_a_reminder_follows_after_an_hour():
    with Service(onboarding) as service:
        service.send("users/created", {"id": 7})
        service.advance(hours=1)
        assert service.results(onboarding)[0].result == {"reminded": True}

What runs is the real engine, journal and runtime, so a test meets what production does: retries, order, dead letters.
`runs` shows what goes on, what waits for what, what is stuck and why; `resume`, `cancel` and `retry` ask for more.
Time stands still until `advance`. `restart` kills the worker as `kill -9` does; `crashes` does so at every await.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, Self

import pytest

from headgate import progress
from headgate.checking import check_provider
from headgate.definition import Workflow
from headgate.event import Event
from headgate.progress import OpenStep, Run
from topics import keys, reserved
from topics.sources import message_of, sent_topic

__all__ = [
    "DeadLetter",
    "OpenStep",
    "Result",
    "Run",
    "Sent",
    "Service",
    "check_provider",
    "crashes",
    "headgate_service",
]

_GROUP: Final = "headgate.testing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a run ended, as `headgate.results` has it."""

    run_id: str
    workflow_id: str
    status: str
    """completed, failed, rejected or cancelled."""
    result: Any
    """What the function returned, as JSON gives it back."""
    error: dict[str, Any] | None
    """`type`, `message` and `traceback` of what ended the run."""
    attempts: int
    key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """What could not be run, and why."""

    code: str
    reason: str
    remedy: str
    run_id: str | None
    workflow_id: str | None
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a run sends through a source (`ctx.sources.send`). No source runs in a test: `answer` is its answer."""

    id: str
    """The same however often the message is repeated."""
    source: str
    message: dict[str, Any]


class _Rehearsal(Protocol):
    """What the service fills the entry point with (app.wiring.rehearsal)."""

    turns: int

    def now_ms(self) -> int: ...
    def send(self, topic: str, data: Any, **options: Any) -> str: ...
    def advance(self, seconds: float) -> None: ...
    def restart(self, workflows: Sequence[Workflow] = (), *, after: float = 0.0) -> None: ...
    def die_at(self, turn: int) -> None: ...
    def results(self) -> list[dict[str, Any]]: ...
    def facts(self) -> list[dict[str, Any]]: ...
    def dead_letters(self) -> list[dict[str, Any]]: ...
    def events(self) -> Sequence[Any]: ...
    def records(self, topic: str) -> list[tuple[bytes | None, bytes | None, Any]]: ...
    def close(self) -> None: ...


class Service:
    """A Headgate of one worker that runs `workflows`, in memory.

    `partitions` of `headgate.events`; `reply_topics` are further Kafka topics, to which replies may go. Every method
    returns once all that it caused has happened. An error that would end a worker is raised by the call that met it.
    """

    def __init__(self, *workflows: Workflow, partitions: int = 2, reply_topics: Sequence[str] = ()) -> None:
        self._inner: _Rehearsal = _rehearsal()(_workflows(workflows), partitions=partitions, reply_topics=reply_topics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now(self) -> datetime:
        """The present moment: 2026-01-01T00:00:00Z, and what has passed since."""
        return datetime.fromtimestamp(self._inner.now_ms() / 1000, UTC)

    def send(
        self,
        topic: str,
        data: Any = None,
        *,
        key: str | None = None,
        id: str | None = None,  # noqa: A002 as the event names it
        event_type: str | None = None,
        reply_topic: str | None = None,
        correlation_id: str | None = None,
    ) -> str:
        """Produce an event on a logical topic; return its id."""
        return self._inner.send(
            topic,
            data,
            key=key,
            event_id=id,
            event_type=event_type,
            reply_topic=reply_topic,
            correlation_id=correlation_id,
        )

    def advance(
        self,
        delay: float | timedelta | None = None,
        *,
        seconds: float = 0,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        weeks: float = 0,
    ) -> None:
        """Let time pass, the sum of what is given: timers fire at their moments, in their order.

        `delay` is in seconds, or a timedelta. Raises TypeError for what is neither, ValueError for less than 0.
        """
        more = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days, weeks=weeks)
        self._inner.advance(_seconds("delay", timedelta() if delay is None else delay, more))

    def restart(self, *workflows: Workflow, after: float | timedelta = 0) -> None:
        """Kill the worker as `kill -9` does, and start another one: what is in the journal goes on.

        With `workflows` the new one runs these instead, as after a deployment; what waits for others sleeps until a
        worker has them again. Make a changed one in a function, since a file has each id once. `after` is for how long
        nothing runs in between, in seconds or as a timedelta: time passes, and what falls due meanwhile is late.
        Raises TypeError, ValueError for what is no workflow or no time.
        """
        self._inner.restart(_workflows(workflows), after=_seconds("after", after))

    def results(self, workflow: Workflow | str | None = None) -> list[Result]:
        """Return what ended so far, of all workflows or of one, in the order of the ends."""
        wanted = workflow.id if isinstance(workflow, Workflow) else workflow
        return [
            Result(
                run_id=one["run_id"],
                workflow_id=one["workflow_id"],
                status=one["status"],
                result=one["result"],
                error=one["error"],
                attempts=one["attempts"],
                key=one["key"],
            )
            for one in self._inner.results()
            if wanted in (None, one["workflow_id"])
        ]

    def runs(self, workflow: Workflow | str | None = None) -> list[Run]:
        """Return all runs so far, of all workflows or of one: those that go on and those that ended, as they began.

        An event that waits for its turn, for its batch or for code is no run yet.
        """
        wanted = workflow.id if isinstance(workflow, Workflow) else workflow
        found = progress.read(self._inner.facts(), self._inner.results())
        return [one for one in found if wanted in (None, one.workflow_id)]

    def resume(self, run_id: str, key: str, data: Any = None) -> str:
        """Resume the suspended step `key` of a run, as `headgate runs resume` does; return the event's id.

        The first `data` (JSON) counts; a step that waits no more ignores it, and one that is yet to come finds it.
        Raises ValueError for what is no run's id.
        """
        return self.send(reserved.resume_topic(_checked(run_id), key), data, key=run_id)

    def cancel(self, run_id: str) -> str:
        """Cancel a run, as `headgate runs cancel` does; return the event's id. One that has ended stays as it is.

        Raises ValueError for what is no run's id.
        """
        return self.send(reserved.CANCEL, key=_checked(run_id))

    def retry(self, run_id: str) -> str:
        """Let a stuck run go on, as `headgate runs retry` does; return the event's id. Others stay as they are.

        Raises ValueError for what is no run's id.
        """
        return self.send(reserved.RETRY, key=_checked(run_id))

    def events(self, topic: str | None = None) -> list[Event[Any]]:
        """Return the events that were sent and published so far, of all topics or of one, in order of time."""
        return [Event(one.payload()) for one in self._inner.events() if topic in (None, one.topic)]

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters so far."""
        return [
            DeadLetter(
                code=one["code"],
                reason=one["reason"],
                remedy=one["remedy"],
                run_id=one["run_id"],
                workflow_id=one["workflow_id"],
                value=one["value"],
            )
            for one in self._inner.dead_letters()
        ]

    def records(self, kafka_topic: str) -> list[tuple[bytes | None, bytes | None, Any]]:
        """Return key, value and headers of the records of one of `reply_topics`."""
        return self._inner.records(kafka_topic)

    def sent(self, source: str | None = None) -> list[Sent]:
        """Return what runs sent through sources so far, of all sources or of one, each message once."""
        found = [message_of(value) for _, value, _ in self._inner.records("actions") if value is not None]
        made = {one.id: Sent(id=one.id, source=one.source, message=dict(one.body)) for one in found}
        return [one for one in made.values() if source in (None, one.source)]

    def answer(self, sent: Sent, reply: Any = None, *, error: str | None = None) -> None:
        """Answer a message as its source does: with the other side's `reply`, or with why it was refused."""
        status = "sent" if error is None else "failed"
        answer = {"status": status, "reply": reply, "error": error}
        self._inner.send(sent_topic(sent.id), answer, key=sent.source, event_id=sent.id, event_type=status)

    def close(self) -> None:
        """End it; `with` does so by itself."""
        self._inner.close()

    def _die_at(self, turn: int) -> None:
        self._inner.die_at(turn)

    @property
    def _turns(self) -> int:
        return self._inner.turns


def crashes(*workflows: Workflow, partitions: int = 2, reply_topics: Sequence[str] = ()) -> Iterator[Service]:
    """Yield services whose worker dies at one await after the other, until the scenario ends before the crash.

    for service in crashes(order_flow):
        service.send("orders/created", {"id": 1}, id="1")
        service.advance(hours=1)
        assert [one.status for one in service.results()] == ["completed"]

    The first one does not die at all. What the function does outside of steps may happen again after a crash, as in
    production.
    """
    turn: int | None = None
    while True:
        with Service(*workflows, partitions=partitions, reply_topics=reply_topics) as service:
            if turn is None:
                began = service._turns
            else:
                service._die_at(turn)
            yield service
            if turn is None:
                turn = began
            elif service._turns < turn:
                return
            turn += 1


@pytest.fixture
def headgate_service() -> Iterator[Callable[..., Service]]:
    """Return `Service` itself; what a test makes with it is closed when the test ends."""
    made: list[Service] = []

    def make(*workflows: Workflow, **options: Any) -> Service:
        made.append(Service(*workflows, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _checked(run_id: Any) -> str:
    """Return `run_id`. Raises ValueError for what can be none."""
    if not isinstance(run_id, str) or not keys.is_run_id(run_id):
        known = "service.runs() has those of runs"
        raise ValueError(f"{run_id!r} is no run id: <workflow id>:<24 hexadecimal digits>; {known}")
    return run_id


def _workflows(given: Sequence[Any]) -> Sequence[Workflow]:
    """Return what was given. Raises TypeError for what is no workflow."""
    for one in given:
        if not isinstance(one, Workflow):
            raise TypeError(f"{one!r} is no workflow; give functions that have @workflow")
    return given


def _seconds(name: str, given: Any, more: timedelta = timedelta()) -> float:
    """Return the sum of a span, seconds or a timedelta, and of `more` in seconds. Raises TypeError, ValueError."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} is {given!r}; give seconds or a timedelta, for example 30 or timedelta(hours=1)")
    seconds += more.total_seconds()
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{seconds} seconds were to pass; give a finite number, 0 or more")
    return seconds


def _rehearsal() -> Callable[..., _Rehearsal]:
    """Find the service in memory. It is not imported here: what an author imports knows nothing of the service."""
    for one in entry_points(group=_GROUP):
        found: Callable[..., _Rehearsal] = one.load()
        return found
    raise RuntimeError("the service for tests is not installed: install the package headgate, not a copy of its files")

"""The promises of durable steps and waits, each broken in the code: part of `mutations`."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from unittest import mock

from app.engine import apply as engine
from app.engine.effects import Effects, Go
from app.engine.inputs import Evicted, Judged
from app.engine.journal import restore
from app.engine.runs import rising, runs
from app.engine.steps import conditions, ends, risen, steps
from app.engine.tables import receipts, recorded, room
from app.engine.tables.registry import Head
from app.engine.tables.run import RunStatus
from app.engine.tables.state import State
from app.engine.tables.wait import Wait
from app.engine.values.asks import Outcome
from app.engine.waits import flushes, interests, restored, waits
from app.pump.pump import Pump
from app.runtime import values
from app.runtime.attempt import Attempt
from app.runtime.replay import History
from app.runtime.steps import Steps
from headgate.conditions import Since
from headgate.event import Event

Patch = Callable[[], Any]


@contextmanager
def both(*patches: Any) -> Iterator[None]:
    """Several patches as one."""
    with ExitStack() as stack:
        for one in patches:
            stack.enter_context(one)
        yield


def _go_on_first() -> Any:
    """Functions go on with what a step came to before that is durable."""
    before = Pump._append

    async def append(self: Pump, made: Any) -> None:
        if self._after:
            self._go_on()
        await before(self, made)

    return mock.patch.object(Pump, "_append", append)


def _call_ahead() -> Any:
    """Functions of steps are called before the end of the sleep that their run went on from is durable."""

    def may(one: Go) -> bool:
        step = None if one.run.steps is None else one.run.steps.open.get(one.key)
        return one.run.journaled and step is not None and not step.touched

    return mock.patch.object(ends, "may_go_at_once", may)


def _begin_steps_first() -> Any:
    """Functions of steps are called before their run is durable."""
    before = Pump._append

    async def append(self: Pump, made: Any) -> None:
        every = self._after
        self._after = [one for one in every if isinstance(one, Go)]
        if self._after:
            self._go_on()
        self._after = [one for one in every if not isinstance(one, Go)]
        await before(self, made)

    return mock.patch.object(Pump, "_append", append)


def _run_steps_again() -> Any:
    """A function that is called anew hears of open steps alone, so that what is over is done once more."""
    before = risen._recorded

    def recorded_(run: Any, records: Any) -> Any:
        return tuple(one for one in before(run, records) if one.outcome is None)

    return both(
        mock.patch.object(risen, "_recorded", recorded_),
        mock.patch.object(History, "end", return_value=None),
    )


def _chance_anew() -> Any:
    """What a step draws differs from call to call."""
    count = itertools.count()
    return mock.patch.object(values, "random_of", side_effect=lambda _run, _key: next(count) / 1_000_000)


def _now_anew() -> Any:
    """A function that is called anew is told another time."""
    before = recorded.of_record

    def of_record(record: bytes) -> Any:
        found = before(record)
        if found.about == "now":
            return replace(found, outcome=Outcome(b"1700000000001"))
        return found

    return mock.patch.object(recorded, "of_record", of_record)


def _forget_timers_of_steps() -> Any:
    """A restore does not arm what open steps wait for."""

    def go_on(_state: State, run: Any) -> None:
        if run.steps is not None:
            run.steps.resting = run.status is RunStatus.COLD

    return mock.patch.object(restore, "_go_on", go_on)


def _wake_early() -> Any:
    """A sleep ends before its time."""
    before = ends.arm

    def arm(state: State, run: Any, step: Any, due_ms: int) -> None:
        before(state, run, step, min(due_ms, state.now_ms + 40))

    return mock.patch.object(ends, "arm", arm)


def _steps_stay() -> Any:
    """Steps of a run that ended stay in the journal."""
    before = runs._forget_steps

    def forget(state: State, run: Any) -> None:
        removed = len(state.removed)
        before(state, run)
        state.removed[removed:] = [one for one in state.removed[removed:] if not one.startswith(b"step:")]

    return mock.patch.object(runs, "_forget_steps", forget)


def _waits_stay() -> Any:
    """Waits that nobody wants any more stay."""
    return mock.patch.object(waits, "withdrawn", return_value=None)


def _no_notices() -> Any:
    """A home tells nobody of what comes."""
    return mock.patch.object(interests, "arrived", return_value=None)


def _no_look_back() -> Any:
    """A home does not look for what came before somebody asked."""
    return mock.patch.object(interests, "_look_back", lambda state, one: interests._covered(state, one, one.since_ms))


def _give_up_unasked() -> Any:
    """A wait is given up by the clock of its registry alone."""

    def start(state: State, registry: Any) -> None:
        registry.flushed_ms = state.now_ms - 1
        waits.flushed(state, registry)

    return mock.patch.object(flushes, "start", start)


def _waits_open_at_takeover() -> Any:
    """The next owner of a registry takes every wait for open."""
    before = restored.take_wait
    return mock.patch.object(restored, "take_wait", lambda state, found: before(state, found | {"open": True}))


def _any_key() -> Any:
    """An event of another key meets a wait."""
    before = Wait.takes

    def takes(self: Wait, event: Any) -> bool:
        return before(self, event if self.asked.event_key is None else event._replace(key=self.asked.event_key))

    def places(given: Any, event: Any) -> list[Wait]:
        return [one for several in given.values() for one in several.values()]

    return both(mock.patch.object(Wait, "takes", takes), mock.patch.object(waits, "at_places", places))


def _after_the_end() -> Any:
    """An event that comes after the end of a wait meets it."""
    before = Wait.takes

    def takes(self: Wait, event: Any) -> bool:
        limit = self.asked.deadline_ms
        return before(self, event if limit is None else event._replace(timestamp_ms=min(event.timestamp_ms, limit)))

    return mock.patch.object(Wait, "takes", takes)


def _last_wins() -> Any:
    """Of several events that came before a wait, the last meets it."""

    def order(event: Any) -> tuple[int, int, int]:
        return -event.timestamp_ms, -event.partition, -event.offset

    return mock.patch.object(waits, "order", order)


def _receive_again() -> Any:
    """A run forgets which events it has received."""
    return mock.patch.object(receipts, "remember", return_value=None)


def _since_the_run() -> Any:
    """A wait sees what came since its run's start, whatever time its author gives."""
    before = Steps._since_ms

    def since_ms(self: Steps, key: str, since: Since) -> int | None:
        return None if isinstance(since, datetime) else before(self, key, since)

    return mock.patch.object(Steps, "_since_ms", since_ms)


def _since_the_first_event() -> Any:
    """A wait that is to see what came since an event of its run sees what came since the first of them."""
    before = Steps._since_ms

    def since_ms(self: Steps, key: str, since: Since) -> int | None:
        return None if isinstance(since, Event) else before(self, key, since)

    return mock.patch.object(Steps, "_since_ms", since_ms)


def _any_time() -> Any:
    """An event from before a wait's time meets it."""
    before = Wait.takes

    def takes(self: Wait, event: Any) -> bool:
        return before(self, event._replace(timestamp_ms=max(event.timestamp_ms, self.asked.since_ms)))

    return mock.patch.object(Wait, "takes", takes)


def _older_than_told() -> Any:
    """A wait opens at once if its topic is told of already, however far it looks back."""

    def confirmed_ms(self: Head, partitions: int) -> int | None:
        before_ms = before(self, partitions)
        return None if before_ms is None else 0

    before = Head.confirmed_ms
    return mock.patch.object(Head, "confirmed_ms", confirmed_ms)


def _no_filters() -> Any:
    """What an author's filter says does not count."""

    def judge(self: Any, key: str, condition: int, envelope: Any) -> None:
        self.report(Judged(self.run.id, self.number, key, condition, passed=True))

    return mock.patch.object(Attempt, "judge", judge)


def _pass_over_candidates() -> Any:
    """The time of a wait is over though a filter has not looked at all that came in it."""

    def expired(state: State, run_id: str, key: str, n: int, effects: Effects) -> None:
        found = steps._awaiting(state, run_id, key, n)
        if found is not None:
            found[2].candidates.clear()
            found[2].judging = False
        before(state, run_id, key, n, effects)

    before = steps.expired
    return mock.patch.object(steps, "expired", expired)


def _sleep_though_wanted() -> Any:
    """A run that was dropped is not called anew for what happened meanwhile."""

    def evicted(state: State, given: Any, _effects: Effects) -> None:
        for run_id in given.run_ids:
            run = state.runs.get(run_id)
            if run is not None and run.status in rising.HOT:
                rising.chill(state, run, RunStatus.COLD)

    return mock.patch.dict(engine.HANDLERS, {Evicted: evicted})


def _attempts_forgotten() -> Any:
    """The next owner counts a step's attempts from the beginning."""
    before = recorded.restored

    def restored(of: Any, n: int, found: Any) -> Any:
        step = before(of, n, found)
        step.attempts = min(step.attempts, 1)
        return step

    return mock.patch.object(recorded, "restored", restored)


def _no_room_asked_for() -> Any:
    """Runs wait for as much as they like."""
    return mock.patch.object(room, "refusal", return_value=None)


def _refused_early() -> Any:
    """What would just have been allowed is refused."""
    before = room.refusal
    return mock.patch.object(room, "refusal", lambda state, run, key, more: before(state, run, key, more + 1))


def _keep_what_others_need() -> Any:
    """A condition that has an event gives it up to no narrower one."""
    return mock.patch.object(conditions, "_giver", return_value=None)


OF_STEPS: Final[dict[str, Patch]] = {
    "go-on-first": _go_on_first,
    "begin-steps-first": _begin_steps_first,
    "call-ahead": _call_ahead,
    "run-steps-again": _run_steps_again,
    "chance-anew": _chance_anew,
    "now-anew": _now_anew,
    "forget-timers-of-steps": _forget_timers_of_steps,
    "wake-early": _wake_early,
    "steps-stay": _steps_stay,
    "waits-stay": _waits_stay,
    "no-notices": _no_notices,
    "no-look-back": _no_look_back,
    "give-up-unasked": _give_up_unasked,
    "waits-open-at-takeover": _waits_open_at_takeover,
    "any-key": _any_key,
    "after-the-end": _after_the_end,
    "last-wins": _last_wins,
    "receive-again": _receive_again,
    "since-the-run": _since_the_run,
    "since-the-first-event": _since_the_first_event,
    "any-time": _any_time,
    "older-than-told": _older_than_told,
    "no-filters": _no_filters,
    "pass-over-candidates": _pass_over_candidates,
    "sleep-though-wanted": _sleep_though_wanted,
    "attempts-forgotten": _attempts_forgotten,
    "no-room-asked-for": _no_room_asked_for,
    "refused-early": _refused_early,
    "keep-what-others-need": _keep_what_others_need,
}

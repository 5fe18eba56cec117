"""The proof of ADR 10 with one step left out each: some course of things must refute it, or the tests prove nothing."""

from collections.abc import Callable, Mapping
from typing import Any, Final
from unittest import mock

import pytest

from app.engine.journal import waiting
from app.engine.tables.arrivals import Arrivals
from app.engine.tables.openwaits import Waits
from app.engine.tables.registry import Head, Interest, Interests, Registry, WaitsLook
from app.engine.tables.state import State
from app.engine.tables.wait import Wait
from app.engine.waits import flushes, interests, restored, streams, waits
from app.pump.lookback import LookBack
from tests.unit.app.engine.waits.courses import again, late, refuted, storm, stream
from topics import asked
from topics.envelope import Envelope

Patch = Callable[[], Any]


def _no_notice() -> Any:
    """A home does not tell of what comes after an interest (step 2)."""
    return mock.patch.object(interests, "arrived", return_value=None)


def _interest_not_restored() -> Any:
    """The next owner of a home knows of no interest (step 2)."""
    return mock.patch.object(interests, "restored_interest", return_value=None)


def _home_does_not_look_back() -> Any:
    """A home confirms without having looked at what came before (step 3)."""
    return mock.patch.object(interests, "_look_back", lambda state, one: interests._covered(state, one, one.since_ms))


def _look_back_not_resumed() -> Any:
    """The next owner of a home forgets that it has to look back (step 3)."""

    def restored(state: State, found: dict[str, Any]) -> None:
        one = Interest(found["t"], (found["head"], found["pattern"]), found["since"], 0, 0)
        state.interests = state.interests or Interests(state.limits.partitions)
        state.interests.add(one)

    return mock.patch.object(interests, "restored_interest", restored)


def _confirmed_first() -> Any:
    """A home confirms before it tells (step 4)."""
    before = interests._look_back

    def look_back(state: State, one: Interest) -> None:
        state.ask(one.registry, asked.Confirmed(*one.key, one.since_ms))
        before(state, one)

    return mock.patch.object(interests, "_look_back", look_back)


def _one_confirmation() -> Any:
    """A wait opens once anybody has confirmed (step 5)."""
    return mock.patch.object(Head, "confirmed_ms", lambda one, _: max(one.confirmed.values(), default=None))


def _packed_and_forgotten() -> Any:
    """A wait that is packed before it is confirmed does not go on when it is (step 5)."""
    return mock.patch.object(Waits, "blocked_by_head", lambda one: dict.fromkeys(one.blocked, 0))


def _registry_does_not_look_back() -> Any:
    """A wait opens without a look at what was told before (step 5)."""

    def look_back(_state: State, registry: Registry, wait: Wait) -> None:
        wait.found = []
        registry.opening.append(wait)

    return mock.patch.object(waits, "look_back", look_back)


def _memory_is_whole() -> Any:
    """The memory of a registry counts as whole after a takeover (step 5)."""
    return mock.patch.object(Arrivals, "miss", return_value=None)


def _not_kept_meanwhile() -> Any:
    """What is told while a wait is looked back for is not kept for it (step 5)."""

    def arrived(state: State, event: Envelope) -> None:
        registry = state.registry
        if registry is not None and registry.arrivals.add(event):
            open_ = [one for one in registry.waits.met_by(event) if one.open]
            waits._fan_out(state, registry, event, open_)

    return mock.patch.object(waits, "arrived", arrived)


def _notices_not_looked_at() -> Any:
    """A registry looks back at its own events alone (step 5)."""
    return mock.patch.object(WaitsLook, "notices", new=False)


def _restored_as_open() -> Any:
    """The next owner of a registry takes every wait for open (step 6)."""
    before = restored.take_wait
    return mock.patch.object(restored, "take_wait", lambda state, found: before(state, found | {"open": True}))


def _no_flush() -> Any:
    """A wait expires by the registry's clock (step 7)."""

    def start(state: State, registry: Registry) -> None:
        registry.flushed_ms = state.now_ms - 1
        waits.flushed(state, registry)

    return mock.patch.object(flushes, "start", start)


def _one_pass() -> Any:
    """One pass is thought to be enough (step 7)."""
    before = flushes._ask

    def ask(state: State, registry: Registry, *, started_ms: int, second: bool) -> None:
        before(state, registry, started_ms=started_ms, second=True)

    return mock.patch.object(flushes, "_ask", ask)


def _answered_undelivered() -> Any:
    """A partition answers before what it forwarded is delivered (step 7)."""

    def answer(state: State) -> None:
        for registry, one in list(state.flushes.items()):
            if one.ends and state.events_offset >= one.ends[0] and state.commands_offset >= one.ends[1]:
                del state.flushes[registry]
                state.ask(registry, asked.Flushed(one.number))

    return mock.patch.object(flushes, "answer", answer)


def _forwards_not_told_of() -> Any:
    """A partition says that it has forwarded nothing since the last flush, whatever it has (step 7)."""
    before = flushes.answer

    def answer(state: State) -> None:
        state.forwarded = 0
        before(state)

    return mock.patch.object(flushes, "answer", answer)


def _quiet_when_asked_first() -> Any:
    """The next owner of a partition takes what it has not forwarded itself for not forwarded (step 7)."""
    before = flushes.answer

    def answer(state: State) -> None:
        for registry, one in state.flushes.items():
            state.caught_up.setdefault(registry, (one.after, 0))
        before(state)

    return mock.patch.object(flushes, "answer", answer)


def _ends_not_asked_for() -> Any:
    """A partition takes what it has handled for all that there is (step 7)."""

    async def end(_self: LookBack, _topic: str, handled: int) -> int:
        return handled

    return mock.patch.object(LookBack, "_end", end)


def _question_not_restored() -> Any:
    """The next owner of a partition never answers (step 7)."""
    return mock.patch.object(waiting, "read_head", return_value=None)


def _expired_unopened() -> Any:
    """A wait expires though it is not open (step 7)."""

    def give_up(state: State, registry: Registry, wait: Wait) -> None:
        if (wait.asked.deadline_ms or 0) <= registry.flushed_ms:
            registry.overdue.pop(wait.id, None)
            registry.due[wait.id] = wait
        elif registry.flush is None:
            flushes.start(state, registry)

    return mock.patch.object(waits, "_give_up", give_up)


def _met_again() -> Any:
    """A wait that was met stays."""
    return mock.patch.object(waits, "_win", lambda state, _registry, wait, event: waits._met(state, wait, event))


def _paused_from_now() -> Any:
    """A stream that may send no more goes on behind the round in which that was so (step 8)."""
    before = streams.pour

    def pour(state: State, registry: Registry, wait: Wait) -> None:
        registry.told = (state.events_offset, state.commands_offset)
        before(state, registry, wait)

    return mock.patch.object(streams, "pour", pour)


def _not_collected_meanwhile() -> Any:
    """What comes while a stream looks back for the last time is not kept for it (step 8)."""
    return mock.patch.object(streams, "collects", lambda wait: wait.open)


def _too_many_forgotten() -> Any:
    """What was found beyond what may be sent counts as if it had been (step 8)."""
    before = streams.collect

    def collect(state: State, wait: Wait, event: Envelope) -> None:
        before(state, wait, event)
        if wait.flow is not None:
            wait.flow.overflowed = False

    return mock.patch.object(streams, "collect", collect)


def _place_not_journaled() -> Any:
    """The next owner of a registry takes a stream that is behind for one that is open (step 8)."""

    def take(state: State, wait: Wait, _found: Any) -> None:
        streams.begin(state, wait)
        wait.open, wait.found = True, []

    return mock.patch.object(streams, "restored", take)


def _nothing_more_sent() -> Any:
    """A registry does not hear that the step has judged what it was sent (step 8)."""
    return mock.patch.object(streams, "more", return_value=None)


def _end_of_what_is_behind() -> Any:
    """A stream's time is over though events that came in time were not sent (step 8)."""
    before = waits._give_up

    def give_up(state: State, registry: Registry, wait: Wait) -> None:
        was = wait.open
        wait.open = was or (wait.flow is not None and wait.flow.end is not None)
        before(state, registry, wait)
        wait.open = was

    return mock.patch.object(waits, "_give_up", give_up)


STREAMS: Final[Mapping[str, Patch]] = {
    patch.__name__.strip("_").replace("_", "-"): patch
    for patch in (
        _paused_from_now,
        _not_collected_meanwhile,
        _too_many_forgotten,
        _place_not_journaled,
        _nothing_more_sent,
        _end_of_what_is_behind,
    )
}


@pytest.mark.parametrize("step", STREAMS)
def test_without_this_step_a_stream_loses_an_event_or_gets_too_many(step: str) -> None:
    with STREAMS[step]():
        assert any(_loses(seed) for seed in range(2_000))


def _loses(seed: int) -> bool:
    try:
        return bool(stream(seed))
    except AssertionError:  # it never comes to rest, or gets too many
        return True


LEFT_OUT: Final[Mapping[str, Patch]] = {
    patch.__name__.strip("_").replace("_", "-"): patch
    for patch in (
        _no_notice,
        _interest_not_restored,
        _home_does_not_look_back,
        _look_back_not_resumed,
        _confirmed_first,
        _one_confirmation,
        _packed_and_forgotten,
        _registry_does_not_look_back,
        _memory_is_whole,
        _not_kept_meanwhile,
        _notices_not_looked_at,
        _restored_as_open,
        _no_flush,
        _one_pass,
        _answered_undelivered,
        _forwards_not_told_of,
        _quiet_when_asked_first,
        _ends_not_asked_for,
        _question_not_restored,
        _expired_unopened,
        _met_again,
    )
}


@pytest.mark.parametrize("step", LEFT_OUT)
def test_without_this_step_a_wait_misses_its_event_or_is_met_twice_or_late(step: str) -> None:
    with LEFT_OUT[step]():
        assert any(_breaks(course, seed) for seed in range(0, 2_000, 100) for course in (late, again, storm))


def _breaks(course: Any, seed: int) -> bool:
    try:
        return bool(refuted(course, range(seed, seed + 100)))
    except AssertionError:  # it never comes to rest
        return True

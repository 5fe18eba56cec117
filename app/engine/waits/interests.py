"""What other partitions want to know of events that live here (p).

An interest counts from the offsets at which it came: every event after them is told as it comes, those before are
looked back for. The look-back's answer and its confirmation go the same way in order, so whoever has the confirmation
has been told of all.
"""

from collections.abc import Iterable
from typing import Any

from app.engine.tables.registry import Interest, InterestLook, Interests
from app.engine.tables.state import State
from topics import asked, journal
from topics.envelope import Envelope


def arrived(state: State, interests: Interests, event: Envelope) -> None:
    """Tell of an event that came, to those who want to know."""
    for registry in interests.of(event.topic):
        state.counters.noticed += 1
        state.ask(registry, asked.Notice(event))


def asked_for(state: State, one: asked.Interest, source: int) -> None:
    if state.interests is None:
        state.interests = Interests(state.limits.partitions)
    key = (one.head, one.pattern)
    interest = state.interests.all.get((source, key))
    if interest is None:
        interest = Interest(source, key, one.since_ms, state.events_offset, state.commands_offset)
        state.interests.add(interest)
    elif one.since_ms >= interest.since_ms:
        if interest.covered_ms is not None and interest.covered_ms <= one.since_ms:
            _confirm(state, interest)
        return
    interest.since_ms = one.since_ms
    _touch(state, interest)
    _look_back(state, interest)


def looked_back(state: State, look: InterestLook, arrivals: Iterable[Envelope], *, done: bool) -> None:
    interest = look.interest
    for event in arrivals:
        state.counters.noticed += 1
        state.ask(interest.registry, asked.Notice(event))
    if done:
        interest.look = None
        _covered(state, interest, look.since_ms)


def _look_back(state: State, interest: Interest) -> None:
    look = interest.look
    if look is not None:
        if look in state.lookbacks:
            look.since_ms = interest.since_ms
        return  # else what is further back follows
    if interest.events_from == interest.commands_from == 0:
        _covered(state, interest, interest.since_ms)
        return
    state.looks += 1
    interest.look = InterestLook(
        number=state.looks,
        since_ms=interest.since_ms,
        events_end=interest.events_from,
        commands_end=interest.commands_from,
        interest=interest,
        before_ms=interest.covered_ms,
        partitions=state.limits.partitions,
    )
    state.lookbacks.append(interest.look)


def _covered(state: State, interest: Interest, since_ms: int) -> None:
    interest.covered_ms = since_ms
    _touch(state, interest)
    _confirm(state, interest)
    if interest.since_ms < since_ms:
        _look_back(state, interest)


def _confirm(state: State, interest: Interest) -> None:
    head, pattern = interest.key
    state.ask(interest.registry, asked.Confirmed(head, pattern, interest.covered_ms or 0))


def _touch(state: State, interest: Interest) -> None:
    head, pattern = interest.key
    state.touched_waits[journal.interest_key(interest.registry, head, pattern=pattern)] = interest
    state.changed = True


# --- the journal -----------------------------------------------------------------------------------------------------


def restored_interest(state: State, found: dict[str, Any]) -> None:
    """Take an interest from the journal; what was not looked back for is looked back for again."""
    key = (found["head"], found["pattern"])
    interest = Interest(found["t"], key, found["since"], found["events"], found["commands"])
    interest.covered_ms = found["covered"]
    if state.interests is None:
        state.interests = Interests(state.limits.partitions)
    state.interests.add(interest)
    if interest.covered_ms is None or interest.since_ms < interest.covered_ms:
        _look_back(state, interest)

"""Waits, interests and heads as entities of the journal."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from app.engine.tables.arrivals import SKEW_MS
from app.engine.tables.registry import Head, Interest
from app.engine.tables.state import State
from app.engine.tables.wait import Wait
from app.engine.waits import flushes, interests, restored, streams
from topics import asked, commands, journal
from topics.envelope import Envelope

Entity = tuple[bytes, bytes]
Change = tuple[bytes, bytes | None]
Records = Iterable[tuple[bytes, bytes, dict[str, Any]]]


def write(state: State, gone: set[bytes], fresh: list[Change], batch: list[Change]) -> None:
    """Write what changed in this round. Waits that are new are `fresh`: nothing refers to them yet."""
    for key, one in state.touched_waits.items():
        entity = (key, journal.encode(value(one) | {"r": state.round}))
        anew = not isinstance(one, Wait) or one.journaled or key in gone
        (batch if anew else fresh).append(entity)
        if isinstance(one, Wait):
            one.journaled = True
            if one.flow is None and one.found is None and state.registry is not None:
                state.registry.waits.idle.append(one)
    state.touched_waits.clear()
    if state.registry is not None:
        state.registry.settled = 0


def value(one: Wait | Head | Interest | Envelope) -> dict[str, Any]:
    """Return the entity of one of them, but for its round."""
    if isinstance(one, Wait):
        about = {"ask": asked.shown(one.asked), "p": one.source, "open": one.open}
        return about if one.flow is None else about | {"flow": streams.described(one.flow)}
    if isinstance(one, Head):
        return {"head": one.key[0], "pattern": one.key[1], "since": one.since_ms, "confirmed": one.confirmed}
    if isinstance(one, Interest):
        return {
            "t": one.registry,
            "head": one.key[0],
            "pattern": one.key[1],
            "since": one.since_ms,
            "covered": one.covered_ms,
            "events": one.events_from,
            "commands": one.commands_from,
        }
    return {"event": commands.raw_event(one)}


def entities(state: State) -> Iterator[Entity]:
    """Yield all of them as the journal has them, but for waits that are packed."""
    for key, one in list(_living(state)):
        yield key, journal.encode(value(one) | {"r": state.round})


def _living(state: State) -> Iterator[tuple[bytes, Wait | Head | Interest | Envelope]]:
    if state.registry is not None:
        for name, wait in state.registry.waits.awake.items():
            yield journal.wait_key(name), wait
        for (head, pattern), asked_for in state.registry.heads.items():
            yield journal.head_key(head, pattern=pattern), asked_for
        for place, event in state.registry.fans.items():
            yield journal.fan_key(*place), event
    for interest in () if state.interests is None else state.interests.all.values():
        yield journal.interest_key(interest.registry, interest.key[0], pattern=interest.key[1]), interest


def read_head(state: State, head: Mapping[str, Any]) -> None:
    """Take what the journal's head says of those who wait for this partition to catch up."""
    for registry, number in head.get("flushes", {}).items():
        flushes.asked_for(state, asked.Flush(number), int(registry))


def read(state: State, of: Callable[[bytes], Records]) -> None:
    """Take the entities of a journal, and go on with what was not done."""
    for _, _, found in of(b"head"):
        restored.take_head(state, found)
    for _, _, found in of(b"wait"):
        restored.take_wait(state, found)
    for _, _, found in of(b"fan"):
        restored.take_fan(state, found)
    for _, _, found in of(b"interest"):
        interests.restored_interest(state, found)
    # By the brokers' clocks, which may be ahead of the one that the state was at.
    restored.go_on(state, unknown_before_ms=state.now_ms + SKEW_MS)

"""Waits, heads and what is fanned out at the registry (T), back from the journal. Used by `journal.waiting`."""

from typing import Any

from app.engine.tables.registry import Head
from app.engine.tables.state import State
from app.engine.tables.wait import Wait, head_asked
from app.engine.waits import coverage, streams, waits
from topics import asked, commands


def take_wait(state: State, found: dict[str, Any]) -> None:
    """Take a wait from the journal. One that is open has seen all that was committed."""
    one = asked.decode(found["ask"])
    if not isinstance(one, asked.Wait):
        raise TypeError("it is no wait")
    wait = Wait(one, found["p"])
    wait.open, wait.journaled = found["open"], True
    if one.stream:
        streams.restored(state, wait, found.get("flow"))
    registry = waits.the_registry(state)
    waits.add(state, registry, wait)
    if wait.flow is None:  # one that is not open is looked at again once all are there
        registry.waits.pack(wait)


def take_head(state: State, found: dict[str, Any]) -> None:
    key = (found["head"], found["pattern"])
    confirmed = {int(partition): since_ms for partition, since_ms in found["confirmed"].items()}
    waits.the_registry(state).heads[key] = Head(key, found["since"], confirmed)


def take_fan(state: State, found: dict[str, Any]) -> None:
    event = commands.event_of(found["event"])
    waits.the_registry(state).fans[event.partition, event.offset] = event


def go_on(state: State, *, unknown_before_ms: int) -> None:
    """All of them are there: go on with those that are not open. Nothing that was told before is in memory."""
    registry = state.registry
    if registry is None:
        return
    for key in registry.heads:
        registry.arrivals.miss(head_asked(key)[0], unknown_before_ms)
    for wait in registry.waits.awake.values():
        if not wait.open:
            if coverage.is_confirmed(state, registry, wait):
                if wait.flow is None or streams.is_behind(wait):
                    waits.look_back(state, registry, wait)
            else:
                registry.waits.block(wait)
    registry.waits.unblocking = registry.waits.blocked_by_head()
    waits.go_on_with_blocked(state, registry)

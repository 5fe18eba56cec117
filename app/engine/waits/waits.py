"""Waits at the registry of their topic (T): registered, confirmed by all partitions, opened, met or expired.

    blocked -> looked back for -> opening -> open -> met | expired | withdrawn

A wait is `blocked` until every partition has confirmed that it tells this one of all events since the wait's time.
Then what was told before is looked at: in memory, or by a look-back of the pump's. Then it is open, and the next event
that matches meets it. Why none is missed and none won twice: docs/adr/0010-waits-meet-their-events.md.
"""

from collections.abc import Iterable
from typing import Final

from app.engine.tables import timers
from app.engine.tables.arrivals import Arrivals, order
from app.engine.tables.registry import Registry, WaitsLook
from app.engine.tables.state import State, Timer
from app.engine.tables.wait import Flow, Wait, at_places, wait_id
from app.engine.waits import coverage, flushes, streams
from topics import asked, journal
from topics.envelope import Envelope

MOST_A_ROUND: Final = 5_000
"""Waits that open or end in one round, so that its record batch stays below the limit; the rest has the next one."""
MOST_UNBLOCKED: Final = 2_000
"""Waits that were packed while they were blocked and are unpacked for one round."""
MOST_LOOKED_FOR: Final = 50_000
"""Waits for which the log is looked through at once: these are not packed meanwhile."""
MET_BYTES: Final = 2_048
"""So much of an event that meets a wait counts as one more of them: it is in the record of each."""


# --- the registry (T): what it is asked and told ---------------------------------------------------------------------


def asked_for(state: State, one: asked.Wait, source: int) -> None:
    registry = the_registry(state)
    wait = Wait(one, source)
    if wait.id in registry.waits:
        return
    if one.stream:
        streams.begin(state, wait)
    add(state, registry, wait)
    state.touched_waits[journal.wait_key(wait.id)] = wait
    if not coverage.is_confirmed(state, registry, wait):
        registry.waits.block(wait)
        coverage.need(state, registry, wait)
    else:
        look_back(state, registry, wait)


def withdrawn(state: State, one: asked.Withdraw) -> None:
    registry = state.registry
    wait = None if registry is None else registry.waits.get(wait_id(one.run, one.key, one.n))
    if registry is not None and wait is not None:
        _remove(state, registry, wait)


def more_wanted(state: State, one: asked.More) -> None:
    """The run's partition has judged some of the events that a stream was sent."""
    registry = state.registry
    wait = None if registry is None else registry.waits.get(wait_id(one.run, one.key, one.n))
    if registry is not None and wait is not None and wait.flow is not None:
        streams.more(state, wait, one.count)
        if streams.is_behind(wait):
            look_back(state, registry, wait)


def confirmed(state: State, one: asked.Confirmed, source: int) -> None:
    """A partition has told all that came since a time. Waits that no other must confirm are looked back for."""
    registry = state.registry
    head = None if registry is None else registry.heads.get((one.head, one.pattern))
    if registry is None or head is None or head.confirmed.get(source, one.since_ms + 1) <= one.since_ms:
        return
    before = head.confirmed_ms(state.limits.partitions)
    head.confirmed[source] = one.since_ms
    state.touched_waits[journal.head_key(one.head, pattern=one.pattern)] = head
    if head.confirmed_ms(state.limits.partitions) == before:
        return
    waits = registry.waits
    blocked = waits.blocked_by_head()
    waits.unblocking.update({key: count for key, count in blocked.items() if coverage.may_tell(head.key, key)})
    go_on_with_blocked(state, registry)


def arrived(state: State, event: Envelope) -> None:
    """An event of which some partition told this one."""
    registry = state.registry
    if registry is None or not registry.arrivals.add(event):
        return
    open_: list[Wait] = []
    for wait in registry.waits.met_by(event, max(0, MOST_A_ROUND - registry.settled)):
        if wait.flow is not None:
            if streams.collects(wait):
                streams.collect(state, wait, event)
                if wait.open:
                    registry.pouring[wait.id] = wait
        elif wait.open:
            open_.append(wait)
        elif wait.found is not None:
            wait.found.append(event)
    _fan_out(state, registry, event, open_)


def looked_back(state: State, look: WaitsLook, arrivals: Iterable[Envelope], *, done: bool) -> None:
    registry = the_registry(state)
    for event in arrivals:
        for wait in at_places(look.places, event):
            if wait.found is None or not wait.takes(event):
                continue
            if wait.flow is not None:
                streams.collect(state, wait, event)
            else:
                wait.found.append(event)
                if len(wait.found) > 1:
                    wait.found = [min(wait.found, key=order)]
    if done:
        registry.opening.extend(wait for wait in look.waits.values() if registry.waits.get(wait.id) is wait)


# --- the registry: what follows --------------------------------------------------------------------------------------


def due(state: State, name: str, due_ms: int) -> None:
    """A deadline has passed. Whether something came in time is asked of all partitions first."""
    registry = state.registry
    wait = None if registry is None else registry.waits.get(name)
    if registry is None or wait is None or deadline_due_ms(wait) != due_ms:
        return
    registry.overdue[name] = wait
    _give_up(state, registry, wait)


def flushed(state: State, registry: Registry) -> None:
    """All partitions have caught up: give up the overdue waits of which it is certain now, ask anew for the others."""
    for wait in list(registry.overdue.values()):
        _give_up(state, registry, wait)


def _give_up(state: State, registry: Registry, wait: Wait) -> None:
    if (wait.asked.deadline_ms or 0) > registry.flushed_ms:
        if registry.flush is None:
            flushes.start(state, registry)
    elif wait.open:  # else once it is
        del registry.overdue[wait.id]
        registry.due[wait.id] = wait


def work(state: State, registry: Registry) -> None:
    """Open what can be opened and end what must end, as many as a round takes."""
    go_on_with_blocked(state, registry)
    while registry.opening and registry.settled < MOST_A_ROUND:
        wait = registry.opening.popleft()
        if registry.waits.get(wait.id) is wait:
            _open(state, registry, wait)
    for event in list(registry.fans.values()):
        if registry.settled >= MOST_A_ROUND:
            break
        met = registry.waits.met_by(event, MOST_A_ROUND - registry.settled)
        _fan_out(state, registry, event, [one for one in met if one.open and not one.asked.stream])
    for wait in registry.pouring.values():
        _pour(state, registry, wait)
    registry.pouring.clear()
    registry.told = (state.events_offset, state.commands_offset)
    while registry.due and registry.settled < MOST_A_ROUND:
        wait = registry.due.pop(next(iter(registry.due)))
        _remove(state, registry, wait)
        registry.settled += 1
        state.counters.expired += 1
        state.ask(wait.source, asked.Expired(wait.asked.run, wait.asked.key, wait.asked.n))


def backlog(state: State) -> bool:
    """Whether a round was too small for all that was to be opened or ended."""
    registry = state.registry
    if registry is None:
        return False
    return bool(registry.opening or registry.fans or registry.due) or _most_unblocked(state, registry) > 0


def go_on_with_blocked(state: State, registry: Registry) -> None:
    """Look back for waits that are confirmed meanwhile. Of packed ones for a few: each is unpacked until it is open."""

    def wanted(wait: Wait) -> bool:
        return coverage.is_confirmed(state, registry, wait)

    waits = registry.waits
    while (most := _most_unblocked(state, registry)) > 0:
        key, left = next(iter(waits.unblocking.items()))
        awake = [one for one in waits.blocked.get(key, {}).values() if wanted(one)]
        found, looked = waits.unpack_blocked(key, min(left, most), wanted)
        if 0 < looked < left:
            waits.unblocking[key] = left - looked
        else:
            del waits.unblocking[key]
        for wait in (*found, *awake):
            waits.unblock(wait)
            look_back(state, registry, wait)
        if looked == most:
            state.changed = True  # others have their turn while the round is appended
            return
        if found:
            return


def _most_unblocked(state: State, registry: Registry) -> int:
    """Return how many packed waits may be looked at now."""
    if not registry.waits.unblocking or len(registry.opening) >= MOST_UNBLOCKED:
        return 0
    looks = [one for one in (*state.lookbacks, *state.scanning.values()) if isinstance(one, WaitsLook)]
    return min(MOST_UNBLOCKED, MOST_LOOKED_FOR - sum([len(one.waits) for one in looks]))


def deadline_due_ms(wait: Wait) -> int | None:
    """Return when the wait's deadline has passed: what is appended at the deadline is still in time."""
    return None if wait.asked.deadline_ms is None else wait.asked.deadline_ms + 1


def the_registry(state: State) -> Registry:
    if state.registry is None:
        limits = state.limits
        state.registry = Registry(Arrivals(most=limits.arrivals, most_bytes=limits.arrivals_bytes))
        state.registry.told = (state.events_offset, state.commands_offset)
    return state.registry


def add(state: State, registry: Registry, wait: Wait) -> None:
    registry.waits.add(wait)
    due_ms = deadline_due_ms(wait)
    if due_ms is not None:
        timers.arm(state, due_ms, Timer.WAIT, wait.id)


def _remove(state: State, registry: Registry, wait: Wait) -> None:
    state.changed = True
    registry.waits.remove(wait)
    registry.overdue.pop(wait.id, None)
    registry.due.pop(wait.id, None)
    registry.pouring.pop(wait.id, None)
    wait.open, wait.found = False, None
    state.touched_waits.pop(journal.wait_key(wait.id), None)
    if wait.journaled:
        state.removed.append(journal.wait_key(wait.id))


def look_back(state: State, registry: Registry, wait: Wait) -> None:
    """Find what was told before the wait was confirmed: here, or in the log."""
    one, head = wait.asked, wait.head[0]
    arrivals, flow = registry.arrivals, wait.flow
    if flow is not None and not (flow.start is flow.end is None):
        _go_on(state, wait, flow)
        return
    if arrivals.covered_ms(head) <= one.since_ms:
        if wait.pattern is None:
            events = arrivals.of_topic(one.topic, one.event_key, one.since_ms)
        else:
            events = arrivals.of_head(head, one.since_ms)
        wait.found = []
        for event in events:
            if not wait.takes(event):
                continue
            if flow is not None:
                streams.collect(state, wait, event)
                continue
            wait.found.append(event)
            if wait.pattern is None:
                break  # those of a topic are in order: it is the first
        registry.opening.append(wait)
        return
    wait.found = []
    for look in state.lookbacks:
        if isinstance(look, WaitsLook) and not look.alone:
            look.events_end, look.commands_end = state.events_offset, state.commands_offset
            look.join(wait)
            return
    state.looks += 1
    fresh = WaitsLook(
        number=state.looks,
        since_ms=one.since_ms,
        events_end=state.events_offset,
        commands_end=state.commands_offset,
    )
    fresh.join(wait)
    state.lookbacks.append(fresh)


def _go_on(state: State, wait: Wait, flow: Flow) -> None:
    """Look back for what a stream has to send next."""
    wait.found = []
    start, end = flow.start or (0, 0), flow.end or (state.events_offset, state.commands_offset)
    state.looks += 1
    look = WaitsLook(
        number=state.looks,
        since_ms=wait.asked.since_ms,
        events_from=start[0],
        commands_from=start[1],
        events_end=end[0],
        commands_end=end[1],
        alone=True,
    )
    look.join(wait)
    state.lookbacks.append(look)


def _pour(state: State, registry: Registry, wait: Wait) -> None:
    streams.pour(state, registry, wait)
    if not wait.open:
        if streams.is_behind(wait):
            look_back(state, registry, wait)
    elif wait.id in registry.overdue:
        _give_up(state, registry, wait)


def _open(state: State, registry: Registry, wait: Wait) -> None:
    if wait.flow is not None:
        _pour(state, registry, wait)
        return
    found = sorted({(one.partition, one.offset): one for one in wait.found or ()}.values(), key=order)
    registry.settled += 1
    if found:
        _win(state, registry, wait, found[0])
        return
    wait.open, wait.found = True, None
    state.touched_waits[journal.wait_key(wait.id)] = wait
    state.changed = True
    if wait.id in registry.overdue:
        _give_up(state, registry, wait)


def _fan_out(state: State, registry: Registry, event: Envelope, waits: list[Wait]) -> None:
    """Let an event meet all of `waits`, in this round or, journaled until then, in those that follow."""
    place = (event.partition, event.offset)
    done = 0
    for wait in waits:
        if registry.settled >= MOST_A_ROUND:
            break
        done += 1
        registry.settled += 1
        # What was told before and met more waits than its round took goes first.
        first = next((one for one in registry.fans.values() if wait.takes(one)), event)
        _win(state, registry, wait, first)
    if len(waits) > done:
        if place not in registry.fans:
            registry.fans[place] = event
            state.touched_waits[journal.fan_key(*place)] = event
    elif registry.fans.pop(place, None) is not None:
        state.touched_waits.pop(journal.fan_key(*place), None)
        state.removed.append(journal.fan_key(*place))


def _win(state: State, registry: Registry, wait: Wait, event: Envelope) -> None:
    _remove(state, registry, wait)
    registry.settled += event.size // MET_BYTES
    _met(state, wait, event)


def _met(state: State, wait: Wait, event: Envelope) -> None:
    state.counters.met += 1
    state.ask(wait.source, asked.Met(wait.asked.run, wait.asked.key, wait.asked.n, event))

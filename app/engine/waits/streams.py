"""Waits whose filter decides (streams), at the registry of their topic (T): a bounded number of candidates at a time.

The run's partition has at most `limits.candidates` of them to judge; it asks for more as it judges. What was not sent
is kept nowhere: it is in the log of T, as everything that T was told is. So T only remembers how far it is:

    told before `start`            all was sent
    told in [start, end)           sent are those up to `after`, by append time and place
    told from `end` on             nothing was sent

`start` and `end` are offsets of T's events and commands. A look-back over [start, end) finds the next ones after
`after`; once it finds no more, `end` becomes `start`, and one up to now follows. If that finds no more than may be
sent, together with what comes meanwhile, the stream is open: what comes is sent in the round that reads it.
"""

from typing import Final

from app.engine.tables.arrivals import order
from app.engine.tables.registry import Registry
from app.engine.tables.state import State
from app.engine.tables.wait import Flow, Offsets, Wait
from topics import asked, journal
from topics.envelope import Envelope

_UNIT_BYTES: Final = 64 * 1024


def cost(event: Envelope) -> int:
    """Return how many small candidates this one counts for: both sides reckon by it."""
    return 1 + event.size // _UNIT_BYTES


def begin(state: State, wait: Wait) -> None:
    """Make a wait a stream of which nothing was sent."""
    wait.flow = Flow(state.limits.candidates)


def collects(wait: Wait) -> bool:
    """Say whether what comes now belongs to what the stream looks at: it has no fixed end."""
    return wait.found is not None and (wait.flow is None or wait.flow.end is None)


def collect(state: State, wait: Wait, event: Envelope) -> None:
    """Take one that matches; of too many the first ones stay, for those are sent first."""
    found, flow = wait.found, wait.flow
    assert found is not None
    assert flow is not None
    if flow.after is not None and order(event) <= flow.after:
        return
    found.append(event)
    most = state.limits.candidates
    if len(found) > 2 * most:
        first = _sorted(found)
        flow.overflowed = flow.overflowed or len(first) > most
        found[:] = first[:most]


def pour(state: State, registry: Registry, wait: Wait) -> None:
    """Send what was found, as far as may be. Then the stream is open, or it is behind and must look back again."""
    flow = wait.flow
    assert flow is not None
    live = wait.open
    found = _sorted(wait.found or [])
    sent = 0
    while sent < len(found) and flow.credit > 0:
        event = found[sent]
        sent += 1
        flow.credit -= cost(event)
        flow.after = order(event)
        state.counters.met += 1
        state.ask(wait.source, asked.Met(wait.asked.run, wait.asked.key, wait.asked.n, event))
    registry.settled += max(1, sent)
    rest = flow.overflowed or sent < len(found)
    flow.overflowed = False
    wait.found = None
    now = (state.events_offset, state.commands_offset)
    if rest:
        wait.open = False
        if live:
            flow.start = registry.told
        if flow.end is None:
            flow.end = now
    elif flow.end is not None:
        flow.start, flow.end, flow.after = flow.end, None, None
    else:
        wait.open, wait.found = True, []
        flow.start = flow.after = None
    state.touched_waits[journal.wait_key(wait.id)] = wait
    state.changed = True


def more(state: State, wait: Wait, count: int) -> None:
    """The run's partition has judged so many: it takes as many more."""
    assert wait.flow is not None
    wait.flow.credit = min(state.limits.candidates, wait.flow.credit + count)
    state.touched_waits[journal.wait_key(wait.id)] = wait
    state.changed = True


def is_behind(wait: Wait) -> bool:
    """Say whether a stream has something to look back for, may send it, and does not look yet."""
    return wait.flow is not None and not wait.open and wait.found is None and wait.flow.credit > 0


def _sorted(found: list[Envelope]) -> list[Envelope]:
    return sorted({(one.partition, one.offset): one for one in found}.values(), key=order)


# --- the journal -----------------------------------------------------------------------------------------------------


def described(flow: Flow) -> dict[str, object]:
    return {"credit": flow.credit, "start": flow.start, "end": flow.end, "after": flow.after}


def restored(state: State, wait: Wait, found: dict[str, object] | None) -> None:
    """Take how far a stream is; one from an older journal begins anew, or is open."""
    begin(state, wait)
    if found is not None and wait.flow is not None:
        wait.flow.credit = _number(found["credit"])
        wait.flow.start = _offsets(found["start"])
        wait.flow.end = _offsets(found["end"])
        after = found["after"]
        if isinstance(after, list):
            at_ms, partition, offset = map(_number, after)
            wait.flow.after = (at_ms, partition, offset)
    if wait.open:
        wait.found = []


def _offsets(found: object) -> Offsets | None:
    if found is None:
        return None
    if not isinstance(found, list):
        raise TypeError(f"these are two offsets, not {found!r}")
    events, commands = map(_number, found)
    return events, commands


def _number(found: object) -> int:
    if type(found) is not int:
        raise TypeError(f"this is a number, not {found!r}")
    return found

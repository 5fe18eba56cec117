"""Whether an event came in time: a registry with overdue waits asks all partitions to catch up (T and p).

A partition answers once it has handled all that its `events` and `commands` held after it was asked, and what it
forwarded meanwhile is delivered. After the first pass every event that was appended before it, wherever it landed, is
at its home or in the commands of its home. After a second one every home has handled it, and has told of it before it
answered. So what is not here then did not come in time, however long any of them was away.

There is no second pass if nobody has forwarded anything since it answered the flush before, as where all producers
choose the partition as Kafka's own clients do: what was forwarded earlier was in its home's commands before T asked.
"""

from collections.abc import Callable

from app.engine.inputs import CaughtUp
from app.engine.tables.registry import Flush, FlushAsked, Registry
from app.engine.tables.state import State
from topics import asked


def start(state: State, registry: Registry) -> None:
    """Ask all partitions to catch up: a flush that begins now."""
    _ask(state, registry, started_ms=state.now_ms, second=False)


def _ask(state: State, registry: Registry, *, started_ms: int, second: bool) -> None:
    # Of the round that it is journaled with, so that no later owner asks under the same number.
    number = 2 * (state.round + 1) + second
    partitions = range(state.limits.partitions)
    registry.flush = Flush(number, started_ms, second, set(partitions))
    for partition in partitions:
        state.ask(partition, asked.Flush(number, registry.flushed))


def answered(state: State, one: asked.Flushed, source: int, then: Callable[[State, Registry], None]) -> None:
    """A partition has caught up (T); `then` is called once it is certain that all have."""
    registry = state.registry
    flush = None if registry is None else registry.flush
    if registry is None or flush is None or flush.number != one.number:
        return
    flush.waiting.discard(source)
    flush.quiet = flush.quiet and one.quiet
    if flush.waiting:
        return
    registry.flushed = flush.number
    if not flush.second and not flush.quiet:
        _ask(state, registry, started_ms=flush.started_ms, second=True)
        return
    registry.flush = None
    registry.flushed_ms = max(registry.flushed_ms, flush.started_ms - 1)
    then(state, registry)


def asked_for(state: State, one: asked.Flush, source: int) -> None:
    """Answer once this partition has caught up (p). Of one registry the newest question counts."""
    state.questions += 1
    state.flushes[source] = FlushAsked(one.number, one.after, state.questions)


def question(state: State) -> int | None:
    """Return the number of the newest question that the ends of `events` and `commands` are wanted for."""
    wanted = [one.question for one in state.flushes.values() if one.ends is None]
    return max(wanted, default=None)


def caught_up(state: State, given: CaughtUp) -> None:
    for one in state.flushes.values():
        if one.ends is None and one.question <= given.question:
            one.ends = (given.events_end, given.commands_end)


def answer(state: State) -> None:
    """Answer those whose ends this partition has passed."""
    for registry, one in list(state.flushes.items()):
        if one.ends is None or state.events_offset < one.ends[0] or state.commands_offset < one.ends[1]:
            continue
        if one.round is None:
            one.round = state.round + 1 if state.forwards else state.round
        undelivered = state.undelivered
        if state.round >= one.round and (not undelivered or undelivered[0].round > one.round):
            before, until = state.caught_up.get(registry, (None, 0))
            quiet = before == one.after and state.forwarded <= until and not state.forwards
            state.caught_up[registry] = (one.number, one.round)
            del state.flushes[registry]
            state.ask(registry, asked.Flushed(one.number, quiet))

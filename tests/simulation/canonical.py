"""A state as a plain value, by what the journal promises to keep: two states that are equal here go on alike."""

from collections.abc import Callable
from typing import Any

from app.engine.tables import awaited, receipts
from app.engine.tables.state import State
from app.engine.values.asks import Kind
from app.engine.waits import streams
from topics.envelope import Envelope

Body = Callable[[int], Envelope]
"""The event under a number, as the journal has it: of what sleeps there is nothing else."""


def canonical(state: State, *, marks: bool, body: Body) -> dict[str, Any]:
    """Return what defines `state`. Without `marks`, what is known to be delivered is left out."""
    found: dict[str, Any] = {
        "round": state.round,
        "events": state.events_offset,
        "commands": state.commands_offset,
        "bodies": state.bodies,
        "received": {name: one for name, one in sorted(state.received.items()) if one},
        "sent": {name: one for name, one in sorted(state.sent.items()) if one},
        "known": dict(sorted(state.known.items())),
        "definitions": dict(sorted(state.definitions.items())),
        "schedules": {
            name: (one.cron, one.timezone, one.last_ms, one.ran_ms) for name, one in sorted(state.schedules.items())
        },
        "unheard": dict(sorted(state.unheard.items())),
        "runs": {run.id: _run(state, run, body) for run in sorted(state.runs.values(), key=lambda one: one.id)},
        "keys": sorted(state.keyed.as_dict().items()),
        "waiting": _waiting(state, body),
        "waits": _waits(state),
        "interests": _interests(state),
        "flushes": sorted(state.flushes),
        "ids": sorted(_ids(state)),
        "id count": state.dedup.count,
        "generations": [(one.number, one.opened_ms, one.packs) for one in state.dedup.generations],
        "tail": (sorted(state.tail_ids), state.tail_slots, state.tail_from),
    }
    if marks:
        found["now"] = state.now_ms
        found["undelivered"] = [(one.round, sorted(one.slots)) for one in state.undelivered]
        found["marks"] = (state.delivered, state.results_end, state.runs_end)
    return found


def difference(one: Any, other: Any) -> str:
    """Return what differs of two plain values, as a text as short as can be."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
        return "; ".join(f"{name}: {difference(one.get(name), other.get(name))}" for name in names)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        differ = [n for n, (left, right) in enumerate(zip(one, other, strict=True)) if left != right]
        return ", ".join(f"[{n}] {difference(one[n], other[n])}" for n in differ)
    return f"{one} became {other}"


def _run(state: State, run: Any, body: Body) -> tuple[Any, ...]:
    events = [(number, body(number)) for number in (run.places or ())[::2]]
    return (
        run.workflow.id,
        run.workflow.version,
        events or [(one.number, one.envelope) for one in run.held or ()],
        run.lane,
        run.attempt,
        run.started_ms,
        run.due_ms,
        _steps(run),
        state.stuck.get(run.id),
        state.fates.get(run.id),
    )


def _steps(run: Any) -> Any:
    steps = run.steps
    if steps is None:
        return None
    open_now = [
        (
            *(one.n, one.key, one.kind, one.about, one.ask, one.par, one.attempts, one.error),
            one.due_ms if one.kind is not Kind.RUN else None,  # a retry that began is not journaled before it ended
            None if one.wait is None else awaited.described(one.wait),
        )
        for one in steps.open.values()
        if one.journaled
    ]
    numbers = [n for n, place in enumerate(steps.places) if place >= 0]
    about = (numbers, steps.published or {}, receipts.written(steps), steps.resting, steps.par)
    return (sorted(open_now, key=lambda one: one[0]), *about) if open_now or any(about) else None


def _waits(state: State) -> Any:
    """Return what is registered here, and what was asked for because of that."""
    registry = state.registry
    if registry is None or not (len(registry.waits) or registry.heads):
        return None
    waits = sorted(
        (one.id, one.source, one.open, repr(one.asked), None if one.flow is None else streams.described(one.flow))
        for one in registry.waits.values()
    )
    heads = sorted((one.key, one.since_ms, sorted(one.confirmed.items())) for one in registry.heads.values())
    return waits, heads, sorted(registry.fans)


def _interests(state: State) -> Any:
    every = () if state.interests is None else state.interests.all.values()
    return sorted(
        (one.registry, one.key, one.since_ms, one.covered_ms, one.events_from, one.commands_from) for one in every
    )


def _waiting(state: State, body: Body) -> dict[str, list[tuple[int, Envelope]]]:
    every: dict[str, list[tuple[int, Envelope]]] = {}
    for lane in state.lanes.values():
        waiting = [(one.held.number, one.held.envelope) for one in lane.pending]
        every.setdefault(lane.key[0], []).extend(waiting)
    for workflow_id, numbers in state.asleep.items():
        every.setdefault(workflow_id, []).extend((number, body(number)) for number in numbers)
    return {name: sorted(one, key=lambda pair: pair[0]) for name, one in sorted(every.items()) if one}


def _ids(state: State) -> list[bytes]:
    found: list[bytes] = []
    for generation in state.dedup.generations:
        for bucket in generation.buckets:
            if bucket:
                found.extend(bytes(bucket[at : at + 12]) for at in range(0, len(bucket), 12))
    return found

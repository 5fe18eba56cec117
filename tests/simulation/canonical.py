"""A state as a plain value, by what the journal promises to keep: two states that are equal here go on alike."""

from collections.abc import Callable
from typing import Any

from app.engine.state import State
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
        "waiting": _waiting(state, body),
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
    if steps is None or not steps.any:
        return None
    open_now = [
        (one.n, one.key, one.kind, one.about, one.ask, one.par, one.attempts, one.due_ms, one.error, one.wait)
        for one in steps.open.values()
        if one.journaled
    ]
    numbers = [n for n, place in enumerate(steps.places) if place >= 0]
    about = (numbers, steps.published or {}, steps.received or {}, steps.resting, steps.par)
    return (sorted(open_now, key=lambda one: one[0]), *about)


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

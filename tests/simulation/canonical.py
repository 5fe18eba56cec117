"""A state as a plain value, by what the journal promises to keep: two states that are equal here go on alike."""

from typing import Any

from app.engine.state import Pending, State


def canonical(state: State, *, marks: bool) -> dict[str, Any]:
    """Return what defines `state`. Without `marks`, what is known to be delivered is left out."""
    found: dict[str, Any] = {
        "round": state.round,
        "events": state.events_offset,
        "commands": state.commands_offset,
        "bodies": state.bodies,
        "received": {name: one for name, one in sorted(state.received.items()) if one},
        "sent": {name: one for name, one in sorted(state.sent.items()) if one},
        "known": dict(sorted(state.known.items())),
        "runs": {run.id: _run(run) for run in sorted(state.runs.values(), key=lambda one: one.id)},
        "waiting": _waiting(state),
        "held bytes": state.held_bytes,
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


def _run(run: Any) -> tuple[Any, ...]:
    return (
        run.workflow.id,
        run.workflow.version,
        [(one.number, one.envelope) for one in run.held or ()],
        run.lane,
        run.attempt,
        run.started_ms,
        run.due_ms if run.status.value != "running" else 0,
        run.published or {},
        run.key,
    )


def _waiting(state: State) -> dict[str, list[tuple[int, Any]]]:
    every: dict[str, list[Pending]] = {}
    for lane in state.lanes.values():
        every.setdefault(lane.key[0], []).extend(lane.pending)
    for workflow, pending in state.asleep.items():
        every.setdefault(workflow, []).extend(pending)
    return {
        workflow: sorted(((one.held.number, one.held.envelope) for one in pending), key=lambda one: one[0])
        for workflow, pending in sorted(every.items())
        if pending
    }


def _ids(state: State) -> list[bytes]:
    found: list[bytes] = []
    for generation in state.dedup.generations:
        for bucket in generation.buckets:
            if bucket:
                found.extend(bytes(bucket[at : at + 12]) for at in range(0, len(bucket), 12))
    return found

"""Events that wait for a workflow's code. The journal holds them; memory holds the numbers of their bodies alone.

So a workflow that nobody loads costs 8 bytes an event, and its partition goes on for all others. `waking` reads the
bodies back once the code is there. A body is one for all that need it, asleep or not: `release` knows both.
"""

from app.engine.runs import letters
from app.engine.tables.run import Held
from app.engine.tables.state import Pending, Sleeper, State
from app.engine.values.numbers import Numbers
from topics import journal
from topics.envelope import Envelope


def count(state: State) -> int:
    """Return how many events sleep, once for each workflow that they wait for."""
    return sum(map(len, state.asleep.values())) + sum(state.falling.values())


def sleep(state: State, workflow_id: str, envelope: Envelope, held: Held | None) -> None:
    """Let an event sleep for a workflow. What is one too many becomes a dead letter, unless the workflow is waking:
    then room is being made, and the pump takes nothing more until there is.
    """
    if workflow_id not in state.waking and count(state) >= state.limits.asleep_events:
        state.counters.overslept += 1
        letters.bury(
            state,
            (envelope,),
            code="too_many_asleep",
            reason=f"no code of workflow {workflow_id!r} that takes topic {envelope.topic!r} is loaded here, and "
            f"{state.limits.asleep_events} events of this partition wait for such workflows already",
            remedy=f"start workers that load {workflow_id!r}, or give it up with `headgate workflows retire "
            f"{workflow_id}`; then produce the event again with a new id. limits.asleep_events says how many may wait",
            run_id=None,
            workflow_id=workflow_id,
        )
        return
    held = held or Held(envelope)
    held.refs += 1
    _fall(state, Sleeper(workflow_id, held))


def doze(state: State, pending: Pending) -> None:
    """Let an event that waited in a lane sleep."""
    weight = pending.held.weight
    state.held_bytes -= weight
    if pending.recalled:
        state.recalled_bytes -= weight
    if pending.journaled:
        state.counters.slept += 1
        settle(state, pending)
    else:
        pending.left = True
        _fall(state, Sleeper(pending.workflow_id, pending.held))


def _fall(state: State, sleeper: Sleeper) -> None:
    state.fresh_pending.append(sleeper)
    state.falling[sleeper.workflow_id] = state.falling.get(sleeper.workflow_id, 0) + 1
    state.counters.slept += 1
    state.changed = True


def settle(state: State, pending: Pending) -> None:
    """The event is journaled: forget it but for its number."""
    held = pending.held
    state.asleep.setdefault(pending.workflow_id, Numbers()).add(held.number)
    held.refs -= 1
    if held.refs:
        state.shared[held.number] = held
    else:
        state.shared.pop(held.number, None)


def rouse(state: State, workflow_id: str, number: int) -> None:
    """One event sleeps no more for the workflow."""
    numbers = state.asleep[workflow_id]
    numbers.discard(number)
    if not numbers:
        del state.asleep[workflow_id]


def needed(state: State, number: int) -> bool:
    """Whether something that sleeps needs the body."""
    return number in state.runs.bodies or any(number in one for one in state.asleep.values())


def release(state: State, held: Held) -> None:
    """One that needed the body needs it no more."""
    held.refs -= 1
    if held.refs == 0 and held.journaled:
        state.shared.pop(held.number, None)
        if not (state.asleep or state.runs.bodies) or not needed(state, held.number):
            state.removed.append(journal.body_key(held.number))


def pending_key(pending: Pending) -> bytes:
    return journal.pending_key(pending.held.number, pending.workflow_id)

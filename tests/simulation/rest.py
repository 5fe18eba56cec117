"""When a scenario is quiet: nothing is going on any more, and nothing will come by itself."""

from typing import TYPE_CHECKING

from app.engine.runs import asleep
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State
from app.engine.values.asks import Await, Invoke, Suspend
from app.engine.waits import waits
from tests.simulation.worker import Worker

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario


def unrest(sim: "Scenario") -> list[str]:
    """Say what is still going on."""
    going: list[str] = []
    if sim.watch.coming:
        going.append(f"{sim.watch.coming} answers are on their way")
    if sim.weather.stragglers:
        going.append(f"{sim.weather.stragglers} requests that were given up are on their way")
    owned: dict[int, Worker] = {}
    for worker in sim.workers.values():
        if worker.process.dead or worker.process.frozen or not hasattr(worker, "partitions"):
            continue
        if worker.closing:
            going.append(f"{worker.name} is about to leave")
        if worker.generation is None or worker.generation != sim.group.generation:
            going.append(f"{worker.name} is in generation {worker.generation} of {sim.group.generation}")
            continue
        owned.update(dict.fromkeys(worker.partitions.numbers, worker))
    for number in range(sim.partitions):
        if number not in owned:
            going.append(f"nobody has {number}")
            continue
        pump = owned[number].partitions.pump(number)
        assert pump is not None
        state = pump.state
        for topic, offset in (("events", state.events_offset), ("commands", state.commands_offset)):
            records = sim.cluster.read(topic, number)
            if records and offset <= records[-1].offset:
                going.append(f"{topic}-{number} at {offset} of {records[-1].offset + 1}")
        waiting = sum(len(lane.pending) for lane in state.lanes.values()) + asleep.count(state)
        runs = sorted(one.id for one in state.runs.values() if not rests(one))
        if runs or waiting:
            going.append(f"{number} has runs {runs} and {waiting} events waiting")
        if pump._lookback._looks or not at_rest(state):
            going.append(f"{number} has waits to see to")
        head = sim.journals.owners[number].head
        if head is not None and (head["delivered"] < state.delivered or state.undelivered):
            going.append(f"{number} has journaled no mark of round {state.delivered}")
        if not pump._between.is_set():
            going.append(f"{number} is in a round")
        if state.parked:
            going.append(f"{number} has parked {len(state.parked)} records")
        if not pump.delivery._idle.is_set():
            going.append(f"{number} delivers")
    return going


def rests(run: Run) -> bool:
    """Whether a run only waits, and for nothing that has an end."""
    if run.status not in (RunStatus.WAITING, RunStatus.COLD) or run.steps is None or not run.steps.open:
        return False
    return not run.workflow.timeout_seconds and all(
        isinstance(one.ask, Invoke)  # what it started waits itself, or the model finds that it was not told
        or (
            isinstance(one.ask, Await | Suspend)
            and one.ask.deadline_ms is None
            and not one.due_ms
            and not (one.wait is not None and any(condition.candidates for condition in one.wait.conditions))
        )
        for one in run.steps.open.values()
    )


def at_rest(state: State) -> bool:
    """Whether nothing is to be done for waits."""
    registry = state.registry
    if state.interests is not None and any(one.look is not None for one in state.interests.all.values()):
        return False
    busy = state.lookbacks or state.flushes or state.mail or waits.backlog(state)
    return not busy and (
        registry is None
        or (
            all(one.open for one in registry.waits.values())
            and not (registry.opening or registry.waits.blocked or registry.overdue or registry.flush)
        )
    )

"""Steps: what each came to is what its function did, not before its time; what is over leaves nothing behind."""

from app.engine.tables.room import TOO_MANY
from app.engine.tables.run import RunStatus
from tests.simulation.model.logs import Logs
from tests.simulation.plans import ALWAYS
from tests.simulation.rest import rests
from tests.simulation.violation import Violation
from tests.simulation.watch import Journaled
from tests.simulation.worker import EPOCH_MS
from topics.timestamps import milliseconds


def each_step_is_right(logs: Logs) -> None:
    for (run, key), step in logs.sim.seen.steps.steps.items():
        if step.outcome is None:
            continue
        kind = logs.op(run, key).kind
        if was_refused(step) and kind != "run":
            continue  # the watch has looked whether it had to be
        if kind == "run":
            _its_function_did_that(logs, run, key, step)
        elif kind in ("sleep", "until"):
            _it_slept_long_enough(logs, run, key, step)
        elif kind == "now":
            at_ms = step.outcome["v"]
            if not _asked_ms(logs, run, key) <= at_ms <= step.at_ms:
                raise Violation(f"step {key} of {run} says that it is {at_ms}, at {step.at_ms}")


def was_refused(step: Journaled) -> bool:
    """Whether it would have waited for more than the limits let it."""
    found = step.outcome
    return found is not None and found["s"] == "failed" and found["e"]["type"] == TOO_MANY


def _its_function_did_that(logs: Logs, run: str, key: str, step: Journaled) -> None:
    op, found = logs.op(run, key), step.outcome
    assert found is not None
    calls = logs.sim.seen.steps.calls[run, key]
    about = f"step {key} of {run} ({op}) came to {found} after {calls} calls"
    if calls < found["a"]:
        raise Violation(f"{about}, which are too few")
    if was_refused(step):
        if op.rejects or not op.failures or not op.retries or found["a"] > op.retries:
            raise Violation(f"{about}, and would not have been tried again")
    elif op.rejects:
        if found["s"] != "failed" or found["e"]["type"] != "Reject":
            raise Violation(about)
    elif op.failures == ALWAYS:
        if found["s"] != "failed" or found["e"]["type"] != "KeyError" or found["a"] != op.retries + 1:
            raise Violation(about)
    elif op.failures <= op.retries and (found["s"] != "done" or not op.failures < found["v"]["call"] <= calls):
        raise Violation(about)


def _it_slept_long_enough(logs: Logs, run: str, key: str, step: Journaled) -> None:
    op = logs.op(run, key)
    asked_ms = _asked_ms(logs, run, key)
    least_ms = asked_ms + int(op.seconds * 1000)
    # A sleep so short that it began and ended in one round was never journaled as open.
    until_ms = least_ms if step.asked is None else step.asked["ask"]["until"]
    if until_ms < least_ms or step.at_ms < until_ms:
        raise Violation(f"EARLY: step {key} of {run} slept until {step.at_ms}, {step.asked} was asked for")


def _asked_ms(logs: Logs, run: str, key: str) -> int:
    return EPOCH_MS + int(logs.sim.seen.steps.asked[run, key][0] * 1000)


def each_run_went_through_all_of_its_steps(logs: Logs) -> None:
    """A completed run returned what its steps came to; each that was journaled has ended, or waits without end."""
    seen = logs.sim.seen.steps
    ended = {one.value["run_id"]: one.value for one in logs.results}
    for run, value in ended.items():
        program = logs.programs[value["workflow_id"]]
        if program.plan is None or value["status"] != "completed":
            continue
        found = {key: seen.values.get((run, key), "nothing") for key in program.plan.ops}
        if value["result"] != found:
            raise Violation(f"{run} returned {value['result']}, its steps came to {found}")
        late = [key for key in found if milliseconds(value["finished_at"]) < _asked_ms(logs, run, key)]
        if late:
            raise Violation(f"{run} finished before it asked for {late}")
    for run in logs.sim.watch.journaled:
        if run not in ended and run not in logs.waiting and not run.startswith("tick:"):
            raise Violation(f"LOST: {run} was journaled, has no result, and waits for nothing")
    for run, waiting in logs.waiting.items():
        if not rests(waiting):
            raise Violation(f"STUCK: {run} is {waiting.status}")


def no_thread_is_kept(logs: Logs) -> None:
    """A plain function that waits in a thread is one of a run that is in memory."""
    for worker in logs.sim.workers.values():
        if worker.process.dead:
            continue
        runs = [run for pump in worker.partitions.pumps() for run in pump.state.runs.values()]
        hot = sum(run.status is RunStatus.WAITING and not run.workflow.is_async for run in runs)
        waiting = worker.driver._threads._workflows.waiting  # type: ignore[attr-defined] # it is the simulation's
        if waiting != hot:
            raise Violation(f"{worker.name} has {hot} plain functions that wait, and {waiting} threads that do")


def what_is_over_leaves_nothing(logs: Logs) -> None:
    """The journals hold steps and waits of those runs alone that still wait."""
    for number in range(logs.sim.partitions):
        for key in logs.sim.journals.entities(number):
            kind, _, name = key.decode().partition(":")
            run = name.rpartition("#")[0] if kind == "step" else name.split("#")[0]
            if kind == "fan" or (kind in ("run", "step", "wait") and run not in logs.waiting):
                raise Violation(f"journal-{number} still has {key.decode()}")

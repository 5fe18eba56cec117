"""Runs: start, end, retry, give up; and what each of these writes to results, runs, dead letters and replies."""

from dataclasses import replace
from typing import Final

from app.engine import inputs
from app.engine.effects import Effects, Rise
from app.engine.runs import asleep, handlers, letters, notes, parents, retry, rising
from app.engine.tables import resting, room, timers
from app.engine.tables.recorded import NOWHERE, Step
from app.engine.tables.run import Held, Run, RunStatus
from app.engine.tables.state import Fate, State, Timer
from app.engine.values.asks import EventCondition, Recorded, Suspend
from app.engine.values.outgoing import Record, Result
from app.engine.waits import wanted
from headgate.definition import Workflow
from topics import facts, foreign, journal
from topics.envelope import Envelope
from topics.malformed import shown
from topics.reserved import START
from topics.verdicts import RetryLater

_NO_REASON: Final = RetryLater(0).reason
# Plain text and not the enum's members: hashing those is Python code, and these are hashed per run. Looking a member
# up takes 0.1 us until Python 3.12.
_COMPLETED: Final[str] = facts.RunStatus.COMPLETED.value
_REJECTED: Final[str] = facts.RunStatus.REJECTED.value
_FAILED: Final[str] = facts.RunStatus.FAILED.value
_CANCELLED: Final[str] = facts.RunStatus.CANCELLED.value
_RUNNING: Final = RunStatus.RUNNING
_RETRYING: Final = RunStatus.RETRYING


def start(
    state: State,
    workflow: Workflow,
    events: tuple[Envelope, ...],
    run_id: str,
    held: tuple[Held, ...] | None,
    lane: tuple[str, str | None] | None,
    effects: Effects,
) -> None:
    """Start a run. One of the same id that is still there wins: the event came again after its id was forgotten."""
    if run_id in state.runs:
        state.counters.duplicates += 1
        if lane is not None:
            state.freed.append(lane)
        return
    if state.husks:  # steps of an earlier run of the same id are none of this one's
        state.removed.extend(state.husks.pop(run_id, ()))
    if held is not None:
        for one in held:
            one.refs += 1
    run = Run(run_id, workflow, events, held, lane, state.now_ms)
    state.runs.awake[run_id] = run
    state.running += 1
    state.touched_runs[run_id] = run
    state.changed = True
    state.counters.start(events[0], state.now_ms)
    if workflow.cancel_on and run.key is not None:
        state.keyed.remember(run_id, workflow.id, run.key)
    if workflow.timeout_seconds is not None:
        set_deadline(state, run)
    effects.starts.append(run)


def ended(state: State, given: inputs.Ended, _effects: Effects) -> None:
    """An attempt ended. One that was overtaken by its deadline counts no more."""
    run = state.runs.awake.get(given.run_id)
    if run is None or run.attempt != given.attempt or (run.status is not _RUNNING and run.status not in rising.HOT):
        return
    failure = given.failure
    if failure is None:
        _finish(state, run, _COMPLETED, given.result or b"null", None)
        return
    if state.notes:
        notes.keep(state)
    if failure.stuck:
        _stick(state, run, failure)
    elif failure.rejected:
        _finish(state, run, _REJECTED, b"null", failure)
    elif failure.final:
        _finish(state, run, _FAILED, b"null", failure)
    elif not retry.may_retry(run.attempt, max_retries=run.workflow.max_retries):
        _finish(state, run, _FAILED, b"null", failure if failure.retry_after_ms is None else _used_up(run, failure))
    else:
        limits = state.limits
        delay_ms = failure.retry_after_ms
        if delay_ms is None:
            delay_ms = retry.delay_ms(run.id, run.attempt, base_ms=limits.retry_base_ms, max_ms=limits.retry_max_ms)
        rising.turn(state, run, _RETRYING)
        state.cooling.append(run)
        run.due_ms = state.now_ms + delay_ms
        if run.steps is not None:
            run.steps.resting = False
        state.counters.retried += 1
        state.touched_runs[run.id] = run
        state.changed = True
        timers.arm(state, run.due_ms, Timer.RETRY, run.id)
        if not run.journaled and run.attempt == 1:
            began(state, run)
        retried = facts.run_retried(
            run_id=run.id,
            workflow_id=run.workflow.id,
            at_ms=state.now_ms,
            attempt=run.attempt,
            error=facts.error_of(failure.type, failure.message),
            retry_at_ms=run.due_ms,
        )
        tell(state, retried)


def _stick(state: State, run: Run, failure: inputs.Failure) -> None:
    """The function no longer matches what is recorded. Nothing is lost, and nothing waits behind it but for order's
    sake: somebody must decide.
    """
    state.stuck[run.id] = failure.message
    state.counters.stuck.append((run.workflow.id, run.id, failure.message))
    rising.halt(state, run)
    if run.steps is not None:
        run.steps.resting = False
    told = facts.run_stuck(
        run_id=run.id,
        workflow_id=run.workflow.id,
        at_ms=state.now_ms,
        attempt=run.attempt,
        error=facts.error_of(failure.type, failure.message),
    )
    if not run.journaled:
        began(state, run)
    tell(state, told)
    rising.touch(state, run)
    rising.chill(state, run, RunStatus.STUCK)


def retry_stuck(state: State, run_id: str) -> bool:
    """Let a stuck run go on by the code that is loaded now. Return whether there was one."""
    run = state.runs.awake.get(run_id)
    if run is None or run.status is not RunStatus.STUCK:
        return False
    if run.workflow.id in state.loaded:
        run.workflow = state.loaded[run.workflow.id]
    tell(state, facts.run_resumed(run_id=run_id, workflow_id=run.workflow.id, at_ms=state.now_ms))
    rising.touch(state, run)
    rising.wake(state, run)
    return True


def _used_up(run: Run, failure: inputs.Failure) -> inputs.Failure:
    """Say of a run that asked for one more try than it may have that it got none, and why it asked."""
    tries = "1 attempt" if run.attempt == 1 else f"{run.attempt} attempts"
    message = f"asked for another try after {tries}; max_retries={run.workflow.max_retries} allows no more"
    why = failure.message.partition(": ")[2]  # behind "retry in 5 s"
    return replace(failure, message=message if why in ("", _NO_REASON) else f"{message}: {why}")


def retry_due(state: State, run_id: str, due_ms: int, effects: Effects) -> None:
    run = state.runs.awake.get(run_id)
    if run is None or run.status is not _RETRYING or run.due_ms != due_ms:
        return
    run.attempt += 1
    run.due_ms = 0
    state.touched_runs[run_id] = run
    state.changed = True
    if run.places is not None or (run.steps is not None and run.steps.any):
        rising.wake(state, run)
        return
    if run.steps is not None:
        rising.forget_attempt(run)
    rising.turn(state, run, _RUNNING)
    effects.starts.append(run)


def deadline_due(state: State, run_id: str, effects: Effects) -> None:
    run = state.runs.get(run_id)
    if run is None or run.deadline_ms is None or run.deadline_ms > state.now_ms:
        return
    end(state, run, _FAILED, _late(run), effects)


def _late(run: Run) -> inputs.Failure:
    seconds = run.workflow.timeout_seconds
    message = f"the run took longer than the {seconds:g} s that timeout= of workflow {run.workflow.id!r} allows"
    return inputs.Failure("WorkflowTimeout", message, None)


def end(state: State, run: Run, status: str, failure: inputs.Failure, effects: Effects) -> None:
    """End a run, whatever it does: at once, or once its events are read back. The first word counts."""
    if run.id in state.fates or (run.steps is not None and run.steps.over):
        return
    if run.status in rising.HOT:
        effects.cancels.append(run)
        # Its next attempt and its deadline may have been due together: what is over must not begin.
        effects.starts = [one for one in effects.starts if one is not run]
    if run.places is None:
        _finish(state, run, status, b"null", failure)
        return
    state.fates[run.id] = Fate(status, failure.type, failure.message)
    rising.touch(state, run)
    rising.wake(state, run)


def withdraw(state: State, run: Run, step: Step) -> None:
    """Withdraw what a step of the run waits for."""
    if isinstance(step.ask, Suspend) and step.ask.topic is not None:
        wanted.withdraw(state, run, step.key, 0, step.ask.topic)
    if step.wait is None:
        return
    for n, condition in enumerate(step.wait.conditions):
        asked_for = step.ask.conditions[n]  # type: ignore[union-attr]
        if not condition.over and isinstance(asked_for, EventCondition):
            condition.over = True
            wanted.withdraw(state, run, step.key, n, asked_for.topic)


def _finish(state: State, run: Run, status: str, result: bytes, failure: inputs.Failure | None) -> None:
    error = None
    if failure is not None:
        error = facts.error_of(failure.type, failure.message, failure.traceback)
    workflow = run.workflow
    value = facts.result_value(
        run_id=run.id,
        workflow_id=workflow.id,
        workflow_version=workflow.version,
        status=status,
        result_json=result,
        error=error,
        events=run.events,
        key=run.key,
        started_at_ms=run.started_ms,
        finished_at_ms=state.now_ms,
        attempts=run.attempt,
    )
    parent = run.events[0].traceparent
    state.outgoing.results.append(result_record(run.id, workflow.id, status, value, state.now_ms, parent))
    state.changed = True
    counted = (workflow.id, status)
    state.counters.ended[counted] = state.counters.ended.get(counted, 0) + 1
    if run.journaled or run.attempt > 1 or run.status is _RETRYING:
        finished = facts.run_finished(
            run_id=run.id,
            workflow_id=workflow.id,
            at_ms=state.now_ms,
            status=status,
            attempts=run.attempt,
            key=run.key,
            error=error,
        )
        tell(state, finished)
    for envelope in run.events:
        if envelope.reply_topic is not None:
            _reply(state, run, envelope, value)
        if envelope.topic.startswith(START):
            parents.ended(state, workflow.id, envelope, status, result, error)
    if failure is not None:
        if status != _CANCELLED:
            handlers.start(state, run, status, error)
        letters.bury_run(state, run, status, failure)
    if run.status is _RUNNING:
        state.running -= 1
    del state.runs.awake[run.id]
    if state.keyed.any:
        state.keyed.forget(run.id)
    state.touched_runs.pop(run.id, None)
    if run.journaled:
        if rising.weighs(run):
            state.run_bytes -= sum([one.weight for one in run.events])
        state.removed.append(journal.run_key(run.id))
    if run.steps is not None:
        _forget_steps(state, run)
    if run.held is not None:
        for one in run.held:
            asleep.release(state, one)
    if run.lane is not None:
        state.freed.append(run.lane)


def _forget_steps(state: State, run: Run) -> None:
    steps = run.steps
    assert steps is not None
    for step in steps.open.values():
        state.waiting -= room.taken_by(step)
        withdraw(state, run, step)
    steps.open.clear()  # these refer to all: else they live until the cyclic collector looks
    steps.over = True
    state.removed.extend(journal.step_key(run.id, n) for n, place in enumerate(steps.places) if place != NOWHERE)
    state.rising.pop(run.id, None)
    state.stuck.pop(run.id, None)


def result_record(
    run_id: str, workflow_id: str, status: str, value: bytes, finished_ms: int, parent: str | None
) -> Result:
    """Return the record of `results` for a result's value. Derived, so that a takeover makes the same one again."""
    return run_id.encode(), value, facts.shared_headers(workflow_id, status, finished_ms), parent


def _reply(state: State, run: Run, envelope: Envelope, value: bytes) -> None:
    topic = envelope.reply_topic
    assert topic is not None
    if not state.limits.reply_allowed(topic):
        if not foreign.is_topic(topic):
            remedy = f"give the name of a Kafka topic: {foreign.RULE}"
        elif topic.startswith(state.limits.prefix):  # no setting allows these
            remedy = f"name a topic outside {state.limits.prefix}*, whose topics are Headgate's own and take no replies"
        else:
            remedy = "add the topic to replies.allowed_topics, or ask for the reply on an allowed topic"
        letters.bury(
            state,
            (envelope,),
            code="reply_refused",
            reason=f"reply_topic {shown(topic)} is not allowed; the run {run.id!r} itself is in the results",
            remedy=remedy,
            run_id=run.id,
            workflow_id=run.workflow.id,
        )
        return
    correlation = envelope.correlation_id
    headers: list[tuple[str, bytes | None]] = [("run_id", run.id.encode()), ("content-type", b"application/json")]
    if correlation is not None:
        headers.insert(0, ("correlation_id", correlation.encode()))
    key = correlation.encode() if correlation is not None else None
    state.outgoing.records.append(Record(topic, None, key, value, tuple(headers), foreign=True))


def began(state: State, run: Run) -> None:
    """Tell that the run started: it outlives its round, or its first attempt failed in it."""
    started = facts.run_started(
        run_id=run.id,
        workflow_id=run.workflow.id,
        workflow_version=run.workflow.version,
        at_ms=state.now_ms,
        key=run.key,
        events=run.events,
    )
    tell(state, started)


def tell(state: State, told: facts.Record) -> None:
    state.outgoing.runs.append(Record("runs", state.partition, told.key, told.value, tuple(told.headers)))


def retired(run: Run) -> inputs.Failure:
    """Say why a run of a retired workflow is given up."""
    message = f"workflow {run.workflow.id!r} was retired while the run waited for it to be loaded"
    return inputs.Failure("WorkflowRetired", message, None)


def resume(
    state: State, run: Run, held: tuple[Held, ...] | None, steps: tuple[Recorded, ...], effects: Effects
) -> None:
    """Go on with a run whose events (None if they were in memory) and `steps` are read back."""
    if held is not None:
        run.held = held
        run.events = tuple([one.envelope for one in held])
        run.key = run.events[0].key
        state.run_bytes += sum([one.weight for one in run.events])
    fate = state.fates.pop(run.id, None)
    if fate is not None:
        _finish(state, run, fate.status, b"null", inputs.Failure(fate.type, fate.message, None))
        return
    if run.workflow.id in state.retired:
        _finish(state, run, _CANCELLED, b"null", retired(run))
        return
    set_deadline(state, run)
    if run.due_ms > 0:
        rising.turn(state, run, _RETRYING)
        state.cooling.append(run)
        timers.arm(state, run.due_ms, Timer.RETRY, run.id)
        return
    rising.turn(state, run, _RUNNING)
    if run.steps is not None and run.steps.any:
        effects.after.append(Rise(run, steps))
    else:
        effects.starts.append(run)


def set_deadline(state: State, run: Run) -> None:
    """Let the run end when its workflow says so."""
    due_ms = resting.deadline_ms(run.workflow, run.started_ms)
    if due_ms is None:
        run.deadline_ms = None
    elif due_ms != run.deadline_ms:
        run.deadline_ms = due_ms
        timers.arm(state, due_ms, Timer.DEADLINE, run.id)

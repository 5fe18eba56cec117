"""The promises of children, wishes, failures and plain functions, each broken in the code: part of `mutations`."""

from dataclasses import replace
from typing import Any, Final
from unittest import mock

from app.engine import mail
from app.engine.effects import Effects
from app.engine.journal import restore
from app.engine.runs import handlers, letters, parents, runs
from app.engine.starts import wishes
from app.engine.steps import children, ends, steps
from app.engine.tables import recorded
from app.engine.tables.keyed import Keyed
from app.engine.tables.state import State
from app.engine.values.asks import EventCondition, Invoke, Outcome
from app.engine.waits import wanted
from app.runtime.driver import Driver
from app.runtime.live import Live
from app.runtime.replay import History
from tests.simulation.mutations_of_steps import Patch, both
from topics import asked, keys
from topics.reserved import PREFIX


def _tell_no_parent() -> Any:
    """Nobody is told what a child came to."""
    return mock.patch.object(parents, "ended", return_value=None)


def _tell_no_parent_of_refusals() -> Any:
    """Nobody is told of a child that nothing will run."""
    return mock.patch.object(parents, "refused", return_value=None)


def _children_forgotten() -> Any:
    """The next owner forgets what children came to while others were still waited for."""
    before = recorded.restored

    def restored(of: Any, n: int, found: Any) -> Any:
        step = before(of, n, found)
        if step.children is not None:
            step.children = [None] * len(step.children)
        return step

    return mock.patch.object(recorded, "restored", restored)


def _first_child_is_all() -> Any:
    """A step goes on when the first of its children has ended."""
    before = children.ended

    def ended(state: State, run: Any, step: Any, n: int, status: str, value: bytes, effects: Effects) -> None:
        before(state, run, step, n, status, value, effects)
        if step.outcome is None and step.children is not None:
            step.children = [one for one in step.children if one is not None]
            before(state, run, step, len(step.children), status, value, effects)
            if step.key in run.steps.open:
                there = b"[" + b",".join(step.children) + b"]"
                ends.end(state, run, step, Outcome(there), effects)

    return mock.patch.object(children, "ended", ended)


def _children_again() -> Any:
    """A function that is called anew starts runs once more at a step that waits for those that it started."""
    before = steps._again

    def again(state: State, run: Any, step: Any, effects: Effects) -> None:
        before(state, run, step, effects)
        if isinstance(step.ask, Invoke):
            with mock.patch.object(keys, "child_event_id", lambda run_id, key, n: f"{run_id}#{n}:{key}:again"):
                for n, one in enumerate(step.ask.children):
                    child = replace(one, payload=b"null")
                    state.outgoing.records.append(children._event(state, run, step, n, child, waits=True))

    return mock.patch.object(steps, "_again", again)


def _unknown_is_nothing() -> Any:
    """An event that starts a workflow which nobody knows is passed over."""
    return mock.patch.object(wishes, "_nothing_starts", return_value=None)


def _ask_here_alone() -> Any:
    """A wish is told to the partition alone at which it came."""
    return mock.patch.object(wishes, "_ask_all", lambda state, one: state.ask(state.partition, one))


def _cancel_what_is_hot() -> Any:
    """A run whose function is not in memory is not cancelled."""
    before = wishes.cancel

    def cancel(state: State, run_id: str, reason: str, effects: Effects) -> None:
        run = state.runs.get(run_id)
        if run is not None and run.places is None:
            before(state, run_id, reason, effects)

    def asked_(state: State, one: Any, _source: int, effects: Effects) -> None:
        cancel(state, one.run, one.reason, effects)

    return both(mock.patch.object(wishes, "cancel", cancel), mock.patch.dict(mail.HANDLERS, {asked.Cancel: asked_}))


def _cancelled_go_on() -> Any:
    """The function of a run that was cancelled is not stopped."""
    return mock.patch.object(Driver, "cancel", return_value=None)


def _no_room() -> Any:
    """Plain functions that wait keep their threads, however many others there are."""
    return mock.patch.object(Live, "make_room", return_value=None)


def _fates_forgotten() -> Any:
    """The next owner does not know that a run was to end."""
    return _forget_after(lambda state, run_id: state.fates.pop(run_id, None))


def _keys_forgotten() -> Any:
    """The next owner does not know the keys of the runs that an event of their key cancels."""
    return _forget_after(lambda state, run_id: state.keyed.forget(run_id))


def _forget_after(forget: Any) -> Any:
    before = restore._run

    def restored(state: State, run_id: str, *given: Any) -> None:
        before(state, run_id, *given)
        forget(state, run_id)

    return mock.patch.object(restore, "_run", restored)


def _cancel_every_key() -> Any:
    """An event cancels the runs of all keys."""

    def runs_of(self: Keyed, workflow_id: str, _key: str) -> tuple[str, ...]:
        return tuple(run for run, (name, _) in self.as_dict().items() if name == workflow_id)

    return mock.patch.object(Keyed, "runs_of", runs_of)


def _cancel_quietly() -> Any:
    """A run that is cancelled is a dead letter."""
    return mock.patch.object(letters, "CANCELLED", "nothing of the kind")


def _retry_unheard() -> Any:
    """A stuck run stays stuck, whoever wants it to go on."""
    return mock.patch.object(runs, "retry_stuck", return_value=False)


def _fail_instead_of_stuck() -> Any:
    """A run whose code does not fit has failed."""

    def stick(state: State, run: Any, failure: Any) -> None:
        runs._finish(state, run, "failed", b"null", failure)

    return mock.patch.object(runs, "_stick", stick)


def _any_code_fits() -> Any:
    """What code asks for is not compared with what is recorded."""

    def visit(self: History, key: str, _kind: Any, _about: str) -> Any:
        self._left.pop(key, None)
        return self._steps.get(key)

    return mock.patch.object(History, "visit", visit)


def _stuck_go_on_by_themselves() -> Any:
    """The next owner calls what is stuck."""
    before = restore._run

    def restored(state: State, run_id: str, found: Any, entities: Any) -> None:
        before(state, run_id, {**found, "status": "running"} if found["status"] == "stuck" else found, entities)

    return mock.patch.object(restore, "_run", restored)


def _no_handlers() -> Any:
    """Nothing looks at what failed."""
    return mock.patch.object(handlers, "start", return_value=None)


def _handle_handlers() -> Any:
    """What looks at failures and fails is looked at itself."""
    return mock.patch.object(handlers, "_handles", return_value=False)


def _handle_the_cancelled() -> Any:
    """A run that is cancelled counts as failed."""
    return mock.patch.object(runs, "_CANCELLED", "nothing of the kind")


def _resume_only_now() -> Any:
    """What resumed a step before it was suspended is not seen."""
    before = wanted.register

    def register(state: State, run: Any, key: str, n: int, condition: EventCondition, since: int, *given: Any) -> None:
        late = condition.topic.startswith(PREFIX)
        before(state, run, key, n, condition, state.now_ms if late else since, *given)

    return mock.patch.object(wanted, "register", register)


OF_FAMILIES: Final[dict[str, Patch]] = {
    "tell-no-parent": _tell_no_parent,
    "tell-no-parent-of-refusals": _tell_no_parent_of_refusals,
    "children-forgotten": _children_forgotten,
    "first-child-is-all": _first_child_is_all,
    "children-again": _children_again,
    "unknown-is-nothing": _unknown_is_nothing,
    "ask-here-alone": _ask_here_alone,
    "cancel-what-is-hot": _cancel_what_is_hot,
    "cancelled-go-on": _cancelled_go_on,
    "no-room": _no_room,
    "fates-forgotten": _fates_forgotten,
    "keys-forgotten": _keys_forgotten,
    "cancel-every-key": _cancel_every_key,
    "bury-the-cancelled": _cancel_quietly,
    "retry-unheard": _retry_unheard,
    "fail-instead-of-stuck": _fail_instead_of_stuck,
    "any-code-fits": _any_code_fits,
    "stuck-go-on-by-themselves": _stuck_go_on_by_themselves,
    "no-handlers": _no_handlers,
    "handle-handlers": _handle_handlers,
    "handle-the-cancelled": _handle_the_cancelled,
    "resume-only-now": _resume_only_now,
}

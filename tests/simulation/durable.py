"""The functions of workflows with durable steps: they ask for what their plan says, async or plain."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any, Final, Protocol

from headgate import ChildError, EventTimeout, Reject, StepError, after, event_on
from headgate.conditions import Since
from headgate.event import Event
from tests.simulation.plans import CHAIN, LAST_OWN, On, Op, Plan, judged
from tests.simulation.worker import EPOCH_MS

_ZONE: Final = timezone(timedelta(hours=5, minutes=30))


class Watch(Protocol):
    """Who hears what the functions see."""

    def asks(self, run: str, op: Op) -> None: ...
    def begins(self, run: str, key: str) -> int: ...
    def comes_to(self, run: str, key: str, value: Any) -> None: ...
    def judges(self, run: str, key: str) -> None: ...
    def seconds(self) -> float: ...
    def recorded(self, run: str) -> tuple[str, str] | None: ...


@dataclass(slots=True)
class Found:
    """What a function knows when it asks for a step."""

    own: Sequence[Event[Any]]
    """The events that started its run."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the steps of earlier groups came to."""
    events: dict[str, Event[Any]] = field(default_factory=dict)
    """What they received, the last event of each."""


async def perform(ctx: Any, plan: Plan, watch: Watch, *, own: Sequence[Event[Any]], fails: bool) -> dict[str, Any]:
    """Ask for all steps of the plan; return what they came to. `fails`: in this attempt, raise on the way."""
    found = Found(own)
    for number, group in enumerate(plan.groups):
        if len(group) == 1:
            values = [await _one(ctx, group[0], watch, found)]
        else:
            values = await asyncio.gather(*[_one(ctx, op, watch, found) for op in group])
        found.values.update(zip([op.key for op in group], values, strict=True))
        if fails and number == plan.fails_after:
            raise ValueError("not yet")
    return found.values


def perform_plainly(ctx: Any, plan: Plan, watch: Watch, *, own: Sequence[Event[Any]], fails: bool) -> dict[str, Any]:
    """As `perform`, one step after the other."""
    found = Found(own)
    for number, group in enumerate(plan.groups):
        for op in group:
            found.values[op.key] = _one_plainly(ctx, op, watch, found)
        if fails and number == plan.fails_after:
            raise ValueError("not yet")
    return found.values


def mistake(ctx: Any, watch: Watch) -> Any:
    """Ask as other code would that does not fit what is recorded, if anything is. Return what to await, or None."""
    recorded = watch.recorded(ctx.run_id)
    if recorded is None:
        return None
    key, kind = recorded
    return ctx.step.suspend(key) if kind != "suspend" else ctx.step.sleep(key, 0)


async def _one(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    watch.asks(ctx.run_id, op)
    try:
        value = _read(op, await _ASK[op.kind](ctx, op, watch, found), found)
    except (EventTimeout, StepError) as error:
        value = _failure(error)
    watch.comes_to(ctx.run_id, op.key, value)
    return value


def _one_plainly(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    watch.asks(ctx.run_id, op)
    try:
        value = _read(op, _ASK[op.kind](ctx, op, watch, found), found)
    except (EventTimeout, StepError) as error:
        value = _failure(error)
    watch.comes_to(ctx.run_id, op.key, value)
    return value


def _failure(error: EventTimeout | StepError) -> dict[str, Any]:
    if isinstance(error, ChildError):
        about = {"status": error.status, "number": error.number, "results": list(error.results)}
        return {"error": error.error_type} | about
    return {"error": "EventTimeout" if isinstance(error, EventTimeout) else error.error_type}


# --- what each kind asks for ----------------------------------------------------------------------------------------


def _run(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    work = partial(_work_plainly if op.plain else _work, watch, ctx.run_id, op)
    return ctx.step.run(op.key, work, max_retries=op.retries, base_delay=0.05, max_delay=0.2)


async def _work(watch: Watch, run: str, op: Op) -> Any:
    call = watch.begins(run, op.key)
    if op.seconds:
        await asyncio.sleep(op.seconds)
    return _worked(op, call)


def _work_plainly(watch: Watch, run: str, op: Op) -> Any:
    return _worked(op, watch.begins(run, op.key))


def _worked(op: Op, call: int) -> dict[str, int]:
    if op.rejects:
        raise Reject("not this")
    if call <= op.failures:
        raise KeyError("not yet")
    return {"call": call}  # another value in every call: only the one that was journaled may ever be seen


def _sleep(ctx: Any, op: Op, _watch: Watch, _found: Found) -> Any:
    return ctx.step.sleep(op.key, op.seconds)


def _sleep_until(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    now = datetime.fromtimestamp(EPOCH_MS / 1000, UTC) + timedelta(seconds=watch.seconds())
    return ctx.step.sleep_until(op.key, now + timedelta(seconds=op.seconds))


def _event(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    one = op.on[0]
    return ctx.step.wait_for_event(
        op.key,
        one.topic,
        timeout=op.timeout,
        event_key=one.key,
        event_type=one.type,
        filter=_filter(ctx, op, one, watch),
        since=_since(one, found),
    )


def _any(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    return ctx.step.wait_for_any(op.key, _conditions(ctx, op, watch, found), timeout=op.timeout)


def _all(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    return ctx.step.wait_for_all(op.key, _conditions(ctx, op, watch, found), timeout=op.timeout)


def _suspend(ctx: Any, op: Op, _watch: Watch, _found: Found) -> Any:
    return ctx.step.suspend(op.key, {"why": op.key}, timeout=op.timeout)


def _resume(ctx: Any, op: Op, watch: Watch, found: Found) -> Any:
    started = found.values.get(op.of) if op.of is not None else None
    run = started if isinstance(started, str) else ctx.run_id
    return ctx.step.resume(op.key, run, op.target, _once(ctx, op, watch))


def _publish(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    return ctx.step.publish_event(op.key, CHAIN, _once(ctx, op, watch), event_key=op.event_key)


def _send(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    return ctx.step.send(op.key, "replies", _once(ctx, op, watch), record_key=f"{ctx.run_id}#{op.key}")


def _invoke(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    method = ctx.step.invoke_and_wait if op.calls else ctx.step.invoke
    return method(op.key, op.children[0], _once(ctx, op, watch))


def _batch_invoke(ctx: Any, op: Op, watch: Watch, _found: Found) -> Any:
    method = ctx.step.batch_invoke_and_wait if op.calls else ctx.step.batch_invoke
    return method(op.key, [(one, _once(ctx, op, watch)) for one in op.children])


def _once(ctx: Any, op: Op, watch: Watch) -> dict[str, int]:
    """Return other data in every call, as above."""
    return {"n": watch.begins(ctx.run_id, op.key)}


_ASK: Final[dict[str, Callable[[Any, Op, Watch, Found], Any]]] = {
    "run": _run,
    "sleep": _sleep,
    "until": _sleep_until,
    "event": _event,
    "any": _any,
    "all": _all,
    "suspend": _suspend,
    "resume": _resume,
    "publish": _publish,
    "send": _send,
    "invoke": _invoke,
    "call": _invoke,
    "starts": _batch_invoke,
    "calls": _batch_invoke,
    "now": lambda ctx, op, _watch, _found: ctx.step.now(op.key),
    "uuid": lambda ctx, op, _watch, _found: ctx.step.uuid(op.key),
    "random": lambda ctx, op, _watch, _found: ctx.step.random(op.key),
}


def _read(op: Op, value: Any, found: Found) -> Any:
    """Return what a function writes down of what it got, and keep the event that it received."""
    if op.on:
        several = value if op.kind == "all" else [value.event if op.kind == "any" else value]
        for event in several:
            if event is not None:
                found.events[op.key] = event
    return _READ.get(op.kind, _as_it_is)(value)


def _as_it_is(value: Any) -> Any:
    return value


def _place(event: Event[Any] | None) -> str | None:
    return None if event is None else event.sequence_id


_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "event": lambda event: event.sequence_id,
    "any": lambda met: [met[0], _place(met[1])],
    "all": lambda events: [_place(one) for one in events],
    "now": lambda at: at.isoformat(),
    "starts": list,
    "calls": list,
}
"""What functions write down of what they got."""


def _conditions(ctx: Any, op: Op, watch: Watch, found: Found) -> list[Any]:
    events = [
        event_on(
            one.topic,
            event_key=one.key,
            event_type=one.type,
            filter=_filter(ctx, op, one, watch),
            since=_since(one, found),
        )
        for one in op.on
    ]
    return events if op.after is None else [*events, after(seconds=op.after)]


def _since(one: On, found: Found) -> Since:
    """Return from when on the author wants to see events: in a zone of his own, where it is a time."""
    if isinstance(one.since, int):
        return datetime.fromtimestamp(EPOCH_MS / 1000, _ZONE) + timedelta(milliseconds=one.since)
    if one.since == LAST_OWN:
        return found.own[-1]
    if one.since == "now":
        return "now"
    return found.events.get(one.since, "run_start")  # it may have received none


def _filter(ctx: Any, op: Op, one: On, watch: Watch) -> Callable[[Event[Any]], bool] | None:
    if not one.judge:
        return None

    def passes(event: Event[Any]) -> bool:
        watch.judges(ctx.run_id, op.key)
        verdict = judged(one, event.data)
        if verdict == "raises":
            raise LookupError("total")
        return verdict == "yes"

    return passes

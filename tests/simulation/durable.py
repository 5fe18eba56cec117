"""Random workflows with durable steps: what they ask for, drawn as values, and the function that asks for it."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final, Protocol

from headgate import EventTimeout, Reject, StepError, after, event_on
from headgate.event import Event
from tests.simulation.worker import EPOCH_MS

SIGNALS: Final = ("signals/a", "signals/b", "signals/a/x", "alarms")
"""Topics of which events are waited for."""
CHAIN: Final = "chain/hop"
"""The topic of what runs publish."""
ALWAYS: Final = 1_000_000
"""Failures of a step's function that never succeeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class On:
    """An event that is waited for. `judge`: what its filter does: "" there is none, "half" takes some, "raises"."""

    topic: str
    key: str | None = None
    type: str | None = None
    judge: str = ""
    since: str = "run_start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One step."""

    kind: str
    key: str
    seconds: float = 0.0
    """How long it sleeps, or its function takes."""
    timeout: float | None = None
    on: tuple[On, ...] = ()
    after: float | None = None
    """A time among the conditions, the last of them."""
    failures: int = 0
    """Calls of its function that fail before one succeeds."""
    retries: int = 0
    rejects: bool = False
    plain: bool = False
    event_key: str | None = None
    """Of what it publishes."""

    @property
    def waits(self) -> bool:
        return self.kind in ("event", "any", "all", "suspend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a function does: groups one after the other, the steps of a group side by side."""

    groups: tuple[tuple[Op, ...], ...]
    fails_after: int
    """After this group the function fails, in those attempts that fail."""
    ops: Mapping[str, Op] = field(default_factory=dict)


class Watch(Protocol):
    """Who hears what the functions see."""

    def asks(self, run: str, op: Op) -> None: ...
    def begins(self, run: str, key: str) -> int: ...
    def comes_to(self, run: str, key: str, value: Any) -> None: ...
    def judges(self, run: str, key: str) -> None: ...


# --- drawn ----------------------------------------------------------------------------------------------------------

_KINDS: Final = (
    *("run",) * 5,
    *("event",) * 5,
    *("sleep", "until", "any", "any", "all", "suspend", "suspend"),
    *("publish", "publish", "now", "uuid", "random"),
)


def draw_plan(random: Random, *, dated: bool) -> Plan:
    """Return a random plan. `dated`: every wait has an end."""
    groups: list[tuple[Op, ...]] = []
    number = 0
    for _ in range(random.choice((1, 2, 2, 3, 4))):
        size = random.choice((1, 1, 1, 1, 2, 3))
        groups.append(tuple(_op(random, f"s{number + at}", dated=dated) for at in range(size)))
        number += size
    return Plan(
        groups=tuple(groups),
        fails_after=random.randrange(len(groups)),
        ops={op.key: op for group in groups for op in group},
    )


def _op(random: Random, key: str, *, dated: bool) -> Op:
    kind = random.choice(_KINDS)
    seconds = random.choice((0.0, 0.0, 0.02, 0.3)) if kind == "run" else random.choice((0.0, 0.05, 0.4, 1.5))
    timeout = random.choice((0.05, 0.3, 0.8, 2.0, 6.0)) if dated or random.random() < 0.6 else None
    if kind == "run":
        return Op(
            kind=kind,
            key=key,
            seconds=seconds,
            failures=random.choice((0, 0, 0, 1, 2, ALWAYS)),
            retries=random.choice((0, 1, 2)),
            rejects=random.random() < 0.1,
            plain=random.random() < 0.3,
        )
    if kind in ("sleep", "until"):
        return Op(kind=kind, key=key, seconds=seconds)
    if kind == "event":
        return Op(kind=kind, key=key, timeout=timeout, on=(_on(random),))
    if kind in ("any", "all"):
        on = tuple(_on(random) for _ in range(random.choice((1, 1, 2))))
        return Op(kind=kind, key=key, timeout=timeout, on=on, after=random.choice((None, 0.1, 0.7)))
    if kind == "suspend":
        return Op(kind=kind, key=key, timeout=timeout)
    return Op(kind=kind, key=key, event_key=random.choice((None, "k0", f"c{random.randrange(3)}")))


def _on(random: Random) -> On:
    return On(
        topic=random.choice(("signals/a", "signals/b", "signals/*", "signals/**", "alarms")),
        key=random.choice((None, None, None, "k0", "k1")),
        type=random.choice((None, None, None, "t")),
        judge=random.choice(("", "", "", "half", "half", "raises")),
        since=random.choice(("run_start", "run_start", "run_start", "now")),
    )


# --- done -----------------------------------------------------------------------------------------------------------


async def perform(ctx: Any, plan: Plan, watch: Watch, *, fails: bool) -> dict[str, Any]:
    """Ask for all steps of the plan; return what they came to. `fails`: in this attempt, raise on the way."""
    found: dict[str, Any] = {}
    for number, group in enumerate(plan.groups):
        if len(group) == 1:
            values = [await _one(ctx, group[0], watch)]
        else:
            values = await asyncio.gather(*[_one(ctx, op, watch) for op in group])
        found.update(zip([op.key for op in group], values, strict=True))
        if fails and number == plan.fails_after:
            raise ValueError("not yet")
    return found


async def _one(ctx: Any, op: Op, watch: Watch) -> Any:
    watch.asks(ctx.run_id, op)
    try:
        value = await _STEPS[op.kind](ctx, op, watch)
    except EventTimeout:
        value = {"error": "EventTimeout"}
    except StepError as error:
        value = {"error": error.error_type}
    watch.comes_to(ctx.run_id, op.key, value)
    return value


async def _run(ctx: Any, op: Op, watch: Watch) -> Any:
    work = partial(_work_plainly if op.plain else _work, watch, ctx.run_id, op)
    return await ctx.step.run(op.key, work, max_retries=op.retries, base_delay=0.05, max_delay=0.2)


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


async def _sleep(ctx: Any, op: Op, _watch: Watch) -> Any:
    return await ctx.step.sleep(op.key, op.seconds)


async def _sleep_until(ctx: Any, op: Op, _watch: Watch) -> Any:
    loop = asyncio.get_running_loop()
    now = datetime.fromtimestamp(EPOCH_MS / 1000, UTC) + timedelta(seconds=loop.time())
    return await ctx.step.sleep_until(op.key, now + timedelta(seconds=op.seconds))


async def _event(ctx: Any, op: Op, watch: Watch) -> Any:
    one = op.on[0]
    event = await ctx.step.wait_for_event(
        op.key,
        one.topic,
        timeout=op.timeout,
        event_key=one.key,
        event_type=one.type,
        filter=_filter(ctx, op, one, watch),
        since=one.since,
    )
    return event.sequence_id


async def _any(ctx: Any, op: Op, watch: Watch) -> Any:
    number, event = await ctx.step.wait_for_any(op.key, _conditions(ctx, op, watch), timeout=op.timeout)
    return [number, _place(event)]


async def _all(ctx: Any, op: Op, watch: Watch) -> Any:
    return [_place(one) for one in await ctx.step.wait_for_all(op.key, _conditions(ctx, op, watch), timeout=op.timeout)]


async def _suspend(ctx: Any, op: Op, _watch: Watch) -> Any:
    return await ctx.step.suspend(op.key, {"why": op.key}, timeout=op.timeout)


async def _publish(ctx: Any, op: Op, watch: Watch) -> Any:
    # Other data in every call, as above.
    data = {"n": watch.begins(ctx.run_id, op.key)}
    return await ctx.step.publish_event(op.key, CHAIN, data, event_key=op.event_key)


async def _now(ctx: Any, op: Op, _watch: Watch) -> Any:
    return (await ctx.step.now(op.key)).isoformat()


async def _uuid(ctx: Any, op: Op, _watch: Watch) -> Any:
    return await ctx.step.uuid(op.key)


async def _random(ctx: Any, op: Op, _watch: Watch) -> Any:
    return await ctx.step.random(op.key)


_STEPS: Final[dict[str, Callable[[Any, Op, Watch], Awaitable[Any]]]] = {
    "run": _run,
    "sleep": _sleep,
    "until": _sleep_until,
    "event": _event,
    "any": _any,
    "all": _all,
    "suspend": _suspend,
    "publish": _publish,
    "now": _now,
    "uuid": _uuid,
    "random": _random,
}


def _conditions(ctx: Any, op: Op, watch: Watch) -> list[Any]:
    events = [
        event_on(
            one.topic,
            event_key=one.key,
            event_type=one.type,
            filter=_filter(ctx, op, one, watch),
            since=one.since,  # type: ignore[arg-type] # one of two words
        )
        for one in op.on
    ]
    return events if op.after is None else [*events, after(seconds=op.after)]


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


def judged(one: On, data: Any) -> str:
    """Say what the filter does with an event: "yes", "no" or "raises"."""
    if not one.judge:
        return "yes"
    weight = zlib.crc32(f"judged {data!r}".encode())
    if one.judge == "raises" and weight % 3 == 0:
        return "raises"
    return "yes" if weight % 2 else "no"


def _place(event: Event[Any] | None) -> str | None:
    return None if event is None else event.sequence_id

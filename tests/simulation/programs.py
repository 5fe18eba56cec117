"""Random workflows whose outcome is a function of their events alone, so that a model can say what must come out."""

import asyncio
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from headgate import Reject, RetryLater, workflow
from headgate.definition import Workflow
from tests.simulation.durable import Watch, mistake, perform, perform_plainly
from tests.simulation.plans import CHAIN, Plan, draw_plan
from topics.envelope import Envelope

TOPICS = ("orders/created", "orders/paid", "refunds/created", "stock.low")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a workflow does."""

    id: str
    kind: str
    triggers: tuple[str, ...]
    batch_size: int
    batch_timeout_seconds: float | None
    batch_by: str
    order: str
    max_retries: int
    timeout_seconds: float | None
    filtered: bool
    failures: int
    """Attempts that fail before one succeeds, for kinds that fail."""
    publishes: int
    """Events that a run publishes."""
    plain: bool
    """A plain function, which runs in a thread."""
    plan: Plan | None = None
    """Its durable steps."""
    cancel_on: tuple[str, ...] = ()
    on_failure: str | None = None

    def outcome(self) -> tuple[str, int]:
        """Return the status and the attempts of each of its runs."""
        if self.kind == "reject":
            return "rejected", 1
        if self.kind == "never":
            return "failed", 1
        if self.kind in ("fail", "later", "steps"):
            if self.failures > self.max_retries:
                return "failed", self.max_retries + 1
            return "completed", self.failures + 1
        return "completed", 1

    def passes(self, event: Envelope) -> str:
        """Say what its filter does with an event: "yes", "no" or "raises"."""
        if not self.filtered:
            return "yes"
        return ("yes", "yes", "no", "raises")[_weight(event.data) % 4] if self.batch_size == 1 else "yes"

    def published(self, number: int) -> tuple[str, dict[str, Any], str | None]:
        """Return topic, data and key of the event that the step `number` publishes."""
        return CHAIN, {"n": number}, (f"c{number}" if number % 2 else None)


def draw(random: Random, number: int) -> Program:
    """Return a random program."""
    kind = random.choice(("plain", "plain", "plain", "slow", "slow", "fail", "fail", "later", "reject", "never"))
    batched = random.random() < 0.35
    triggers = random.choice((("orders/created",), ("orders/*",), ("orders/paid", "refunds/created"), ("**",)))
    if number == 0:
        triggers = ("chain/*",) if random.random() < 0.5 else ("orders/**", "chain/hop")
    return Program(
        id=f"w{number}-{kind}",
        kind=kind,
        triggers=triggers,
        batch_size=random.choice((2, 3, 5)) if batched else 1,
        batch_timeout_seconds=random.choice((None, 0.2, 0.6)) if batched else None,
        batch_by=random.choice(("workflow", "key", "partition")),
        order=random.choice(("key", "key", "strict", "none")),
        max_retries=random.choice((0, 1, 3)),
        timeout_seconds=0.4 if kind == "never" else None,
        filtered=random.random() < 0.3,
        failures=random.choice((1, 2)),
        publishes=0
        if "chain/*" in triggers or "**" in triggers or "chain/hop" in triggers
        else random.choice((0, 0, 2)),
        plain=kind in ("plain", "fail") and random.random() < 0.3,
    )


def draw_durable(random: Random, number: int) -> Program:
    """Return a random program with durable steps."""
    order = random.choice(("key", "key", "strict", "none"))
    return Program(
        id=f"d{number}-steps",
        kind="steps",
        triggers=random.choice((("orders/created",), ("orders/*",), ("orders/paid", "refunds/created"))),
        batch_size=1,
        batch_timeout_seconds=None,
        batch_by="workflow",
        order=order,
        max_retries=random.choice((0, 1, 3)),
        timeout_seconds=random.choice((None, None, None, 0.5, 3.0)),
        filtered=random.random() < 0.1,
        failures=random.choice((0, 0, 0, 1, 2)),
        publishes=0,
        plain=False,
        # A run that waits for ever would hold up all others of its key where those come strictly one after the other.
        plan=draw_plan(random, dated=order == "strict"),
    )


CANCELS = "cancels/order"
"""The topic whose events cancel the runs of their key."""
NOWHERE = "nowhere"
"""A workflow that does not exist."""


def draw_family(random: Random) -> list[Program]:
    """Return workflows that start others, those that they start, and one that looks at what failed."""
    handler = _by_name("h-failed", random.choice(("plain", "plain", "fail", "reject")), random, "c1-leaf")
    told = (None, handler.id)
    leaf = _by_name("c1-leaf", random.choice(("plain", "slow", "fail", "reject")), random, random.choice(told))
    child = replace(
        draw_durable(random, 0),
        id="c0-steps",
        triggers=(),
        filtered=False,
        plan=draw_plan(random, dated=True, children={leaf.id: (), NOWHERE: ()} if random.random() < 0.6 else None),
        plain=random.random() < 0.3,
        on_failure=random.choice(told),
    )
    assert child.plan is not None
    suspends = [op.key for op in child.plan.ops.values() if op.kind == "suspend"]
    children = {child.id: suspends, leaf.id: ()} | ({NOWHERE: ()} if random.random() < 0.4 else {})
    parents = [_parent(random, number, children, told) for number in range(random.choice((1, 1, 2)))]
    return [*parents, child, leaf, handler]


def _parent(random: Random, number: int, children: Mapping[str, Sequence[str]], told: Sequence[str | None]) -> Program:
    drawn = draw_durable(random, number)
    batch_by = random.choice(("workflow", "key", "key", "partition"))
    size = random.choice((1, 1, 2, 3))
    return replace(
        drawn,
        batch_size=size,
        batch_timeout_seconds=random.choice((None, 0.2, 0.6)) if size > 1 else None,
        batch_by=batch_by,
        timeout_seconds=random.choice((None, None, None, None, 3.0)),
        failures=random.choice((0, 0, 0, 0, 1, 2)),
        filtered=drawn.filtered and size == 1,
        plan=draw_plan(random, dated=drawn.order == "strict", children=children),
        plain=random.random() < 0.3,
        cancel_on=("cancels/*",) if (size == 1 or batch_by == "key") and random.random() < 0.6 else (),
        on_failure=random.choice(told),
    )


def _by_name(workflow_id: str, kind: str, random: Random, on_failure: str | None) -> Program:
    """Return an ordinary workflow that is started by its name alone."""
    return Program(
        id=workflow_id,
        kind=kind,
        triggers=(),
        batch_size=1,
        batch_timeout_seconds=None,
        batch_by="workflow",
        order=random.choice(("key", "none")),
        max_retries=random.choice((0, 1, 3)),
        timeout_seconds=None,
        filtered=False,
        failures=random.choice((1, 2)),
        publishes=0,
        plain=kind in ("plain", "fail") and random.random() < 0.3,
        on_failure=on_failure,
    )


def make(
    program: Program,
    called: Callable[[str, str, int, Sequence[dict[str, Any]]], int],
    watch: Watch,
    *,
    wrong: bool = False,
) -> Workflow:
    """Return the workflow. `called` hears workflow, run, attempt and events of every call, and counts the calls;
    `watch` hears of steps. `wrong`: its code does not fit what was recorded before it was deployed.
    """

    def start(ctx: Any, payload: Any) -> int:
        return called(program.id, ctx.run_id, ctx.attempt, payload["events"])

    def publish(ctx: Any, call: int) -> None:
        for number in range(program.publishes):
            topic, data, key = program.published(number)
            # Other data in every call: only what was journaled may ever be seen.
            ctx.step.publish_event(f"hop{number}", topic=topic, data=data | {"call": call}, event_key=key)

    def finish(ctx: Any, payload: Any) -> dict[str, Any]:
        if program.kind == "reject":
            raise Reject("not for me")
        if program.kind == "fail" and ctx.attempt <= program.failures:
            raise ValueError("not yet")
        if program.kind == "later" and ctx.attempt <= program.failures:
            raise RetryLater(0.15)
        return {"count": len(payload["events"])}

    async def run(ctx: Any, payload: Any) -> Any:
        call = start(ctx, payload)
        if program.kind == "slow":
            await asyncio.sleep(0.02 + 0.3 * (_weight(ctx.run_id) % 7) / 7)
        publish(ctx, call)
        if program.kind == "never":
            await asyncio.sleep(1e6)
        return finish(ctx, payload)

    async def run_durably(ctx: Any, payload: Any) -> Any:
        start(ctx, payload)
        assert program.plan is not None
        asked = mistake(ctx, watch) if wrong else None
        if asked is not None:
            await asked
        return await perform(ctx, program.plan, watch, own=payload["events"], fails=ctx.attempt <= program.failures)

    def run_durably_and_plainly(ctx: Any, payload: Any) -> Any:
        start(ctx, payload)
        assert program.plan is not None
        if wrong:
            mistake(ctx, watch)
        return perform_plainly(ctx, program.plan, watch, own=payload["events"], fails=ctx.attempt <= program.failures)

    def run_plainly(ctx: Any, payload: Any) -> Any:
        publish(ctx, start(ctx, payload))
        return finish(ctx, payload)

    def passes(event: Any) -> bool:
        answer = ("yes", "yes", "no", "raises")[_weight(event["data"]) % 4] if program.batch_size == 1 else "yes"
        if answer == "raises":
            raise KeyError("total")
        return answer == "yes"

    durably, ordinarily = (run_durably_and_plainly, run_plainly) if program.plain else (run_durably, run)
    return workflow(
        program.id,
        list(program.triggers) or None,
        batch_size=program.batch_size,
        batch_timeout_seconds=program.batch_timeout_seconds,
        batch_by=program.batch_by,
        filter=passes if program.filtered else None,
        order=program.order,
        max_retries=program.max_retries,
        timeout=program.timeout_seconds,
        cancel_on=program.cancel_on or None,
        on_failure=program.on_failure,
    )(ordinarily if program.plan is None else durably)


TICK = "tick"
LAST_TICK = 4
"""Seconds after the beginning (22:13:20) at which the schedule is due for the last time."""


def ticking(random: Random) -> Workflow:
    """Return a workflow that starts by itself in each of the first seconds, and may take longer than one."""
    seconds = random.choice((0.0, 0.3, 1.2))

    async def tick(ctx: Any, payload: Any) -> dict[str, Any]:
        await asyncio.sleep(seconds)
        data: dict[str, Any] = payload["events"][0]["data"]
        return data

    schedule = {"cron": f"20-{20 + LAST_TICK} 13 22 14 11 *", "catch_up": random.choice(("all", "skip", "once"))}
    return workflow(TICK, schedule=schedule)(tick)


def _weight(value: Any) -> int:
    return zlib.crc32(repr(value).encode())

"""Headgate's side of durable runs, loaded by `headgate worker`: the workflows of `benchmarks.sides.work`.

Settings: Headgate's own. Every step is in a journal record with acks=all before the code after it goes on; the broker
flushes as Apache Kafka does by default, by the operating system, not before each acknowledgement.
"""

import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.sides import diary, work
from headgate import Context, EventTimeout, workflow


@workflow(id="bench_order", trigger_on_event="bench/order")
async def bench_order(ctx: Context, payload: dict[str, Any]) -> Any:
    """Three steps."""
    data = payload["events"][0]["data"]
    step: Any = ctx.step
    reserved = await step.run("reserve", work.reserve, data)
    charged = await step.run("charge", work.charge, data["id"], reserved, data["price"])
    return await step.run("ship", work.ship, data["id"], charged)


@workflow(id="bench_wait", trigger_on_event="bench/wait")
async def bench_wait(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for the event that has the run's own id as its key."""
    data = payload["events"][0]["data"]
    step: Any = ctx.step
    work.pen.note(data["id"], diary.PARKED)
    await step.wait_for_event("woken", "bench/wake", event_key=data["id"])
    work.pen.note(data["id"], diary.WOKEN)
    return {"id": data["id"]}


@workflow(id="bench_timer", trigger_on_event="bench/timer")
async def bench_timer(ctx: Context, payload: dict[str, Any]) -> Any:
    """Sleep until the run's own moment."""
    data = payload["events"][0]["data"]
    step: Any = ctx.step
    work.pen.note(data["id"], diary.PARKED)
    await step.sleep_until("due", datetime.fromtimestamp(work.due(data), UTC))
    work.pen.note(data["id"], diary.RANG)
    return {"id": data["id"]}


@workflow(id="bench_timeout", trigger_on_event="bench/timeout")
async def bench_timeout(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait in vain, until the run's own moment."""
    data = payload["events"][0]["data"]
    step: Any = ctx.step
    work.pen.note(data["id"], diary.PARKED)
    try:
        await step.wait_for_event("vain", "bench/never", timeout=max(0.001, work.due(data) - time.time()))
    except EventTimeout:
        work.pen.note(data["id"], diary.RANG)
    return {"id": data["id"]}


@workflow(id="bench_journal", trigger_on_event="bench/journal")
async def bench_journal(ctx: Context, payload: dict[str, Any]) -> Any:
    """As many steps as the event says, one after the other."""
    data = payload["events"][0]["data"]
    step: Any = ctx.step
    total = 0
    for number in range(1, data["steps"] + 1):
        total += await step.run(f"step-{number}", work.count, data["id"], number)
    return {"id": data["id"], "total": total}

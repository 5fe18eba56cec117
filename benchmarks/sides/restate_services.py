"""Restate's side of durable runs: Python services behind a Restate server, served by Hypercorn.

Fast settings: the Hypercorn that Restate's page on serving names, with its limits for production (no bound on streams
or requests of a connection), on uvloop and HTTP/2, so that the SDK streams both ways; as many of its processes as the
harness says; async steps (plain ones go through a thread pool); log level WARNING. Runs that wait or sleep are
suspended at once (`inactivity_timeout` 0): by default each holds one of 1,000 places for a minute, so that no more
than 33 a second could begin to wait. The server: a partition for each core and not 24, for there is one server; no
telemetry. Each run comes with an idempotency key, for Headgate and DBOS know each run by its id as well.

Durability: the log calls fsync before it acknowledges (the server's default), or leaves that to the operating system as
Kafka does (`restate-os`: `rocksdb-disable-wal-fsync` of `bifrost.local` and of `log-server`).
"""

import logging
from datetime import timedelta
from typing import Any

import restate  # type: ignore[import-not-found]

from benchmarks.sides import diary, work

logging.basicConfig(level=logging.WARNING)

orders = restate.Service("orders")
journals = restate.Service("journals")
timers = restate.Service("timers", inactivity_timeout=timedelta(0))
waiters = restate.Workflow("waiters", inactivity_timeout=timedelta(0))


@orders.handler()  # type: ignore[untyped-decorator]
async def order(ctx: restate.Context, event: dict[str, Any]) -> dict[str, Any]:
    """Three steps."""
    data = event["data"]
    reserved = await ctx.run_typed("reserve", work.reserve, data=data)
    charged = await ctx.run_typed("charge", work.charge, run_id=data["id"], reserved=reserved, price=data["price"])
    shipped: dict[str, Any] = await ctx.run_typed("ship", work.ship, run_id=data["id"], charged=charged)
    return shipped


@journals.handler()  # type: ignore[untyped-decorator]
async def journal(ctx: restate.Context, event: dict[str, Any]) -> dict[str, Any]:
    """As many steps as the event says, one after the other."""
    data = event["data"]
    total = 0
    for number in range(1, data["steps"] + 1):
        total += await ctx.run_typed(f"step-{number}", work.count, run_id=data["id"], number=number)
    return {"id": data["id"], "total": total}


@timers.handler()  # type: ignore[untyped-decorator]
async def timer(ctx: restate.Context, event: dict[str, Any]) -> dict[str, Any]:
    """Sleep until the run's own moment."""
    data = event["data"]
    work.pen.note(data["id"], diary.PARKED)
    now = await ctx.time()
    await ctx.sleep(timedelta(seconds=max(0.0, work.due(data) - now)))
    work.pen.note(data["id"], diary.RANG)
    return {"id": data["id"]}


@waiters.main()  # type: ignore[untyped-decorator]
async def run(ctx: restate.WorkflowContext, event: dict[str, Any]) -> dict[str, Any]:
    """Wait for the promise that `wake` keeps."""
    data = event["data"]
    work.pen.note(data["id"], diary.PARKED)
    await ctx.promise("woken").value()
    work.pen.note(data["id"], diary.WOKEN)
    return {"id": data["id"]}


@waiters.handler()  # type: ignore[untyped-decorator]
async def wake(ctx: restate.WorkflowSharedContext, event: dict[str, Any]) -> None:
    """Keep the promise."""
    await ctx.promise("woken").resolve(event["data"]["id"])


app = restate.app(services=[orders, journals, timers, waiters], protocol="bidi")

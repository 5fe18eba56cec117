"""The workflows under test: one of each kind. Each result says the numbers of the events that it was made of."""

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

from headgate import Context, Payload, Reject, RetryLater, workflow

POLL_SECONDS = 0.02
Numbers = dict[str, list[int]]


def numbers(payload: Payload[Any]) -> Numbers:
    return {"n": [event["data"]["n"] for event in payload["events"]]}


@workflow(id="fast", trigger_on_event="load/fast")
async def fast(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Ends at once."""
    return numbers(payload)


@workflow(id="slow", trigger_on_event="load/slow")
async def slow(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Outlives its round, in the order of its key."""
    await asyncio.sleep(payload["events"][0]["data"].get("seconds", 0.05))
    return numbers(payload)


@workflow(id="unordered", trigger_on_event="load/unordered", order="none")
async def unordered(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Outlives its round; the events of a key go on at once."""
    await asyncio.sleep(payload["events"][0]["data"].get("seconds", 0.05))
    return numbers(payload)


@workflow(id="threaded", trigger_on_event="load/threaded")
def threaded(ctx: Context, payload: Payload[Any]) -> Numbers:
    """A plain function: it runs in a thread."""
    time.sleep(0.02)
    return numbers(payload)


@workflow(id="hangs", trigger_on_event="load/hangs")
def hangs(ctx: Context, payload: Payload[Any]) -> None:
    """A plain function that never returns, and that nobody can stop; it says in a file that it has begun."""
    Path(payload["events"][0]["data"]["log"]).touch()
    threading.Event().wait()


@workflow(id="flaky", trigger_on_event="load/flaky")
async def flaky(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Fails the first time."""
    if ctx.attempt == 1:
        raise RetryLater(payload["events"][0]["data"].get("seconds", 0.3))
    return numbers(payload)


@workflow(id="batched", trigger_on_event="load/batched", batch_size=10, batch_timeout_seconds=0.5)
async def batched(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Gathers the events of all partitions."""
    return numbers(payload)


@workflow(id="patient", trigger_on_event="load/patient", batch_size=100, batch_timeout_seconds=6)
async def patient(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Gathers for so long that its worker dies meanwhile."""
    return numbers(payload)


@workflow(id="by_key", trigger_on_event="load/by_key", batch_size=5, batch_timeout_seconds=0.5, batch_by="key")
async def by_key(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Gathers the events of each key."""
    return numbers(payload)


@workflow(id="twin_a", trigger_on_event="load/twins/*")
async def twin_a(ctx: Context, payload: Payload[Any]) -> Numbers:
    """One of two that an event triggers."""
    return numbers(payload)


@workflow(id="twin_b", trigger_on_event="load/twins/*")
async def twin_b(ctx: Context, payload: Payload[Any]) -> Numbers:
    """The other one, which outlives its round."""
    await asyncio.sleep(0.03)
    return numbers(payload)


@workflow(id="chain", trigger_on_event="load/chain")
async def chain(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Publishes an event that triggers another workflow."""
    await ctx.step.publish_event("next", topic="load/chained", data=payload["events"][0]["data"])
    return numbers(payload)


@workflow(id="chained", trigger_on_event="load/chained")
async def chained(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Triggered by a workflow."""
    return numbers(payload)


@workflow(id="rejecting", trigger_on_event="load/rejecting")
async def rejecting(ctx: Context, payload: Payload[Any]) -> None:
    """Wants nothing: each of its events becomes a dead letter."""
    raise Reject("not wanted")


@workflow(id="gated", trigger_on_event="load/gated", order="none")
async def gated(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Says in a file that it has started, and waits until another file is there."""
    data = payload["events"][0]["data"]
    with Path(data["log"]).open("a") as log:  # noqa: ASYNC230 one short line
        log.write(f"{data['n']} {ctx.attempt} {os.getpid()}\n")
    while not Path(data["gate"]).exists():  # noqa: ASYNC110, ASYNC240 the test is another process
        await asyncio.sleep(POLL_SECONDS)
    return numbers(payload)

"""Workflows that use Headgate wrongly, each in its own way."""

import asyncio
import time
from typing import Any

from headgate import Context, Payload, workflow

LARGE_BYTES = 2 * 1024 * 1024
BLOCKED_SECONDS = 1.5
_kept: list[Context] = []


@workflow(id="repeated", trigger_on_event="bad/repeated")
async def repeated(ctx: Context) -> None:
    """One key for two steps."""
    await ctx.step.run("pay", int)
    await ctx.step.run("pay", int)


@workflow(id="outside", trigger_on_event="bad/outside")
async def outside(ctx: Context) -> None:
    """A step of a run that has returned."""
    while not _kept:  # noqa: ASYNC110 the other one may be on another partition
        await asyncio.sleep(0.01)
    await _kept[0].step.run("pay", int)


@workflow(id="kept", trigger_on_event="bad/outside")
async def kept(ctx: Context) -> None:
    """Leaves its context to others."""
    asyncio.get_running_loop().call_later(0.1, _kept.append, ctx)


@workflow(id="nested", trigger_on_event="bad/nested")
async def nested(ctx: Context) -> None:
    """A step in the function of another."""

    async def pay() -> None:
        await ctx.step.sleep("a while", 1)

    await ctx.step.run("pay", pay)


@workflow(id="unstorable", trigger_on_event="bad/unstorable")
async def unstorable(ctx: Context) -> None:
    """A step whose result no JSON can hold."""
    await ctx.step.run("pay", object)


@workflow(id="large_step", trigger_on_event="bad/large_step")
async def large_step(ctx: Context) -> None:
    """A step whose result is too large."""
    await ctx.step.run("read", lambda: "x" * LARGE_BYTES)


@workflow(id="large_result", trigger_on_event="bad/large_result")
async def large_result(ctx: Context) -> str:
    """A result that is too large."""
    return "x" * LARGE_BYTES


@workflow(id="large_event", trigger_on_event="bad/large_event")
async def large_event(ctx: Context) -> None:
    """Publishes what is too large for an event."""
    await ctx.step.publish_event("tell", topic="told", data="x" * LARGE_BYTES)


@workflow(id="large_child", trigger_on_event="bad/large_child")
async def large_child(ctx: Context) -> None:
    """Starts a run with what is too large for an event."""
    await ctx.step.invoke_and_wait("child", "good", "x" * LARGE_BYTES)


@workflow(id="blocking", trigger_on_event="bad/blocking")
async def blocking(ctx: Context) -> str:
    """Blocks the loop."""
    time.sleep(BLOCKED_SECONDS)  # noqa: ASYNC251 that is what it is for
    return "done"


@workflow(id="stubborn", trigger_on_event="bad/stubborn")
async def stubborn(ctx: Context) -> None:
    """Swallows whatever stops it, and goes on with steps."""
    try:
        await ctx.step.suspend("wait")
    except BaseException:  # noqa: BLE001 that is what it is for
        await ctx.step.run("more", int)


@workflow(id="immortal", trigger_on_event="bad/immortal")
async def immortal(ctx: Context) -> None:
    """Swallows whatever stops it, and waits again."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ctx.log.info("stopped in vain")


@workflow(id="endless", trigger_on_event="bad/endless")
async def endless(ctx: Context) -> None:
    """Swallows whatever stops it, and asks for the next step at once."""
    number = 0
    while True:
        number += 1
        try:
            await ctx.step.wait_for_event(f"w{number}", "nothing/comes")
        except BaseException:  # noqa: BLE001 that is what it is for
            continue


@workflow(id="interrupting", trigger_on_event="bad/interrupting", max_retries=0)
async def interrupting(ctx: Context) -> None:
    """Raises what Ctrl-C raises."""
    raise KeyboardInterrupt("no more")


@workflow(id="interrupted_step", trigger_on_event="bad/interrupted_step", max_retries=0)
async def interrupted_step(ctx: Context) -> None:
    """The same in the function of a step."""

    async def work() -> None:
        raise KeyboardInterrupt("no more")

    await ctx.step.run("work", work, max_retries=0)


@workflow(id="good", trigger_on_event="good")
async def good(ctx: Context, payload: Payload[Any]) -> str:
    """What goes on beside all of them."""
    return str(await ctx.step.run("work", str, "done"))

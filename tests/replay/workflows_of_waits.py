"""An author's module whose runs wait for events, times and people. A history holds its text as it was."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headgate import EventTimeout, StepError, after, event_on, workflow

CALLED: Final[list[str]] = []
"""The steps whose functions were called, as `<run>:<key>`."""


def look(idempotency_key: str) -> str:
    CALLED.append(idempotency_key)
    return "looked"


class Broken(Exception):
    pass


def is_large(event: Any) -> bool:
    return bool(event.data["sum"] > 10)


def breaks(event: Any) -> bool:
    raise Broken("a filter's own")


@workflow(id="waits", trigger_on_event="orders/created", max_retries=0)
async def waits(ctx: Any, payload: Any) -> Any:
    found: dict[str, Any] = {"early": await ctx.step.wait_for_event("early", "payments/made", event_key="k1")}
    found["large"] = large = await ctx.step.wait_for_event(
        "large", "payments/*", timeout=3600, event_type="card", filter=is_large
    )
    found["later"] = await ctx.step.wait_for_event("later", "payments/**", since=large)
    found["look"] = await ctx.step.run("look", look)
    try:
        await ctx.step.wait_for_event("breaks", "payments/made", filter=breaks)
    except StepError as error:
        found["breaks"] = error.error_type
    first = [after(hours=9), event_on("stock/**", since="now")]
    found["any, event"] = list(await ctx.step.wait_for_any("any, event", first))
    timed = await ctx.step.wait_for_any("any, time", [event_on("nothing/comes"), after(seconds=5)])
    found["any, time"] = [timed.number, timed.event]
    every = [after(seconds=1), event_on("stock/in"), event_on("payments/made", since=datetime(2026, 1, 1, tzinfo=UTC))]
    found["all"] = await ctx.step.wait_for_all("all", every)
    found["only"] = await ctx.step.wait_for_all("only", [event_on("stock/in", since="now")])
    return found


@workflow(id="vain", trigger_on_event="orders/created", max_retries=0)
async def vain(ctx: Any, payload: Any) -> Any:
    nothing = [event_on("nothing/a"), event_on("nothing/b")]
    waiting: dict[str, Callable[[str], Any]] = {
        "event": lambda key: ctx.step.wait_for_event(key, "nothing/comes", timeout=20, since="now"),
        "any": lambda key: ctx.step.wait_for_any(key, nothing, timeout=3),
        "all": lambda key: ctx.step.wait_for_all(key, [after(days=3), *nothing], timeout=3),
        "suspend": lambda key: ctx.step.suspend(key, {"who": "nobody"}, timeout=timedelta(seconds=3)),
    }
    found: dict[str, Any] = {}
    for key, wait in waiting.items():
        try:
            await wait(key)
        except EventTimeout as error:
            found[key] = [error.step_key, error.topic, error.timeout_seconds]
    return found


@workflow(id="sleeps", trigger_on_event="orders/created", max_retries=0)
async def sleeps(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("sleep", 5)
    await ctx.step.wait_for("wait for", seconds=2, minutes=1)
    now = await ctx.step.now("now")
    await ctx.step.sleep_until("sleep until", now + timedelta(seconds=30))
    await ctx.step.wait_until("wait until", now + timedelta(seconds=60))
    return [str(now), str(await ctx.step.now("after all"))]


@workflow(id="plainly", trigger_on_event="orders/created", max_retries=0)
def plainly(ctx: Any, payload: Any) -> Any:
    found = {"looked": ctx.step.run("look", look)}
    try:
        ctx.step.suspend("decide", {"who": "anybody"}, timeout=9)
    except EventTimeout as error:
        found["undecided"] = [error.step_key, error.topic, error.timeout_seconds]
    found["any"] = list(ctx.step.wait_for_any("any", [event_on("nothing/comes"), event_on("stock/in")], timeout=3600))
    found["all"] = ctx.step.wait_for_all("all", [event_on("stock/in"), after(seconds=5)])
    return found | {"again": ctx.step.run("again", look)}

"""An author's module whose runs use sources. A history holds its text as it was."""

from typing import Any, Final

from headgate import EventTimeout, StepError, workflow

CALLED: Final[list[str]] = []
"""Nothing is called here but what the runtime has of its own."""
TICKING: Final = {"schedule": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}


@workflow(id="ticks", trigger_on_event="orders/created", max_retries=0)
async def ticks(ctx: Any, payload: Any) -> Any:
    found = {
        "given": await ctx.sources.connect("connect", "cron", id="clock", options=TICKING, filter={"type": "tick"})
    }
    late = await ctx.sources.connect("connect an own one", "cron", options=TICKING, timeout=5)
    found["own"] = [late["id"], late["status"]]
    found["first"] = await ctx.sources.wait("first", "clock", timeout=600)
    try:
        await ctx.sources.wait("vain", "clock", event_type="never", timeout=5)
    except EventTimeout as error:
        found["vain"] = [error.step_key, error.topic, error.timeout_seconds]
    found["status"] = await ctx.sources.status("status")
    await ctx.sources.disconnect("disconnect", "clock")
    return found


@workflow(id="sends", trigger_on_event="orders/created", max_retries=0)
async def sends(ctx: Any, payload: Any) -> Any:
    found = {}
    for key in ("sent", "refused", "unanswered"):
        try:
            found[key] = await ctx.sources.send(key, "bot", {"text": f"é {key}"}, timeout=60)
        except StepError as error:
            found[key] = error.error_type
    return found

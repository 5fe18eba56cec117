"""Workflows that use sources by themselves."""

from typing import Any

from headgate import Context, Payload, StepError, workflow


@workflow(trigger_on_event="watch")
async def watches(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    url = payload["events"][0]["data"]["url"]
    source = await ctx.sources.connect("connect", "http-stream", options={"url": url})
    numbers = []
    for turn in range(20):
        event = await ctx.sources.wait(f"event {turn}", source["id"], timeout=30)
        numbers.append(event.data["n"])
    try:
        await ctx.sources.send("send", source["id"], {"text": "hello"})
    except StepError as error:
        refused = str(error)
    shown = await ctx.sources.status("status", source["id"])
    await ctx.sources.disconnect("disconnect", source["id"])
    return {"source": source, "numbers": numbers, "refused": refused, "shown": shown}


@workflow(trigger_on_event="watch")
def watches_plainly(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    url = payload["events"][0]["data"]["url"]
    source: Any = ctx.sources.connect("connect", "http-stream", options={"url": f"{url}/nowhere"}, timeout=20)
    ctx.sources.disconnect("disconnect", source["id"])
    return dict(source)

"""Runs that wait for a letter: with its key, or whatever its key is."""

import asyncio
from pathlib import Path
from typing import Any

from headgate import Context, Payload, workflow

WAIT_SECONDS = 120


async def _opened(gate: str) -> None:
    while not Path(gate).exists():  # noqa: ASYNC110, ASYNC240 the test is another process
        await asyncio.sleep(0.02)


@workflow(id="waiting", trigger_on_event="letters/awaited", order="none")
async def waiting(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """Goes through its gate, then waits; returns which letter it got."""
    data = payload["events"][0]["data"]
    await ctx.step.run("gate", _opened, data["gate"])
    letter = await ctx.step.wait_for_event("letter", data["topic"], timeout=WAIT_SECONDS, event_key=data["key"])
    return {"name": data["name"], "letter": letter.data}

"""Headgate's side where bounds are reached: what is small ends at once, what is heavy is kept for two seconds."""

import asyncio
from typing import Any, Final

from benchmarks.events import TOPIC
from headgate import Context, workflow

HEAVY: Final = "bench/heavy"


@workflow(id="bench_small", trigger_on_event=TOPIC)
async def bench_small(_ctx: Context, _payload: dict[str, Any]) -> int:
    """Remember the id, and nothing else."""
    return 1


@workflow(id="bench_heavy", trigger_on_event=HEAVY)
async def bench_heavy(_ctx: Context, payload: dict[str, Any]) -> int:
    """Hold what came."""
    await asyncio.sleep(2)
    return len(payload["events"][0]["data"])

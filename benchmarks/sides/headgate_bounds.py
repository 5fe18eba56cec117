"""Headgate's side where bounds are reached: what is small ends at once, what is heavy is kept for two seconds, what is
patient waits all the time.
"""

import asyncio
from typing import Any, Final

from benchmarks.events import TOPIC
from headgate import Context, workflow

HEAVY: Final = "bench/heavy"
PATIENT: Final = "bench/patient"
NAP_SECONDS: Final = 55
"""What is over soon is kept in memory."""
NAPS: Final = 20


@workflow(id="bench_small", trigger_on_event=TOPIC)
async def bench_small(_ctx: Context, _payload: dict[str, Any]) -> int:
    """Remember the id, and nothing else."""
    return 1


@workflow(id="bench_heavy", trigger_on_event=HEAVY)
async def bench_heavy(_ctx: Context, payload: dict[str, Any]) -> int:
    """Hold what came."""
    await asyncio.sleep(2)
    return len(payload["events"][0]["data"])


@workflow(id="bench_patient", trigger_on_event=PATIENT)
async def bench_patient(ctx: Context, _payload: dict[str, Any]) -> int:
    """Sleep again and again."""
    for number in range(NAPS):
        await ctx.step.sleep(f"nap-{number}", NAP_SECONDS)
    return NAPS

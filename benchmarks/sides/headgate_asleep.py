"""A workflow that is known where bounds are reached, while the worker there has not its code."""

from typing import Any, Final

from headgate import Context, workflow

TOPIC: Final = "bench/asleep"


@workflow(id="bench_asleep", trigger_on_event=TOPIC)
async def bench_asleep(_ctx: Context, _payload: dict[str, Any]) -> int:
    """Never called there."""
    return 1

"""Headgate's side: one workflow on `bench/created`, loaded by `headgate worker`."""

from typing import Any

from headgate import Context, workflow


@workflow(id="bench_created", trigger_on_event="bench/created")
async def bench_created(_ctx: Context, payload: dict[str, Any]) -> dict[str, Any]:
    """The same handler as `benchmarks.sides.side.handle`."""
    data = payload["events"][0]["data"]
    return {"order": data["order"], "total": data["quantity"] * data["price"]}

"""A workflow that takes every event, whatever its topic and data."""

from typing import Any

from headgate import Context, Payload, workflow


@workflow(id="everything", trigger_on_event="**", order="none")
async def everything(ctx: Context, payload: Payload[Any]) -> str:
    """Return what it was given, so that the data has to survive the way out as well."""
    return payload["events"][0].topic

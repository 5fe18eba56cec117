"""A workflow that takes every event, whatever its topic and data."""

from headgate import workflow


@workflow(id="everything", trigger_on_event="**", order="none")
async def everything(ctx, payload):
    """Return what it was given, so that the data has to survive the way out as well."""
    return payload["events"][0]["topic"]

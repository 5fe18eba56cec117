"""The workflow that tells what came of the events of a fleet's sources."""

from typing import Any

from headgate import Context, Payload, workflow


@workflow(trigger_on_event="fleet/**", order="none")
async def told(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    event = payload["events"][0]
    return {"topic": event["topic"], "data": event["data"]}

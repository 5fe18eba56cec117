"""The workflow that counts what sources send."""

from typing import Any

from headgate import Context, Payload, workflow


@workflow(trigger_on_event=["stream/*", "items/*", "feed/*", "clock/*", "files/*", "copy/*", "socket/*"], order="none")
async def gathered(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    event = payload["events"][0]
    data = event["data"]
    source = event["topic"].split("/")[0]
    number = data.get("n", data.get("scheduledAt", data.get("title", data.get("path"))))
    return {"source": source, "n": int(number) if source == "feed" else number}

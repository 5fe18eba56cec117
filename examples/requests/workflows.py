"""Request and response: a workflow asks, whoever listens answers, and the workflow goes on with the answer.

headgate dev examples/requests
curl -X POST 'http://127.0.0.1:8080/api/v1/workflows/requester/call?wait=10s' -H 'Authorization: Bearer test-token' \
     -H 'Content-Type: application/json' -d '{}'
"""

from headgate import workflow


@workflow(id="batch_processor", trigger_on_event="data/updates", batch_size=10, batch_timeout_seconds=30)
async def batch_processor(ctx, payload):
    for event in payload.get("events", []):
        ctx.log.info("update", data=event["data"])


@workflow(id="requester")
async def requester(ctx, payload):
    request_id = await ctx.step.uuid("request_id")
    await ctx.step.publish_event("send_request", topic=f"requests/{request_id}", data={"action": "process"})
    response = await ctx.step.wait_for_event("wait_response", topic=f"responses/{request_id}", timeout=300)
    return response.data


@workflow(id="responder", trigger_on_event="requests/*")
async def responder(ctx, payload):
    """Answer at once, perhaps before the wait is there. Any other program that reads and writes events does as well."""
    request = payload["events"][0]
    request_id = request.topic.removeprefix("requests/")
    await ctx.step.publish_event("answer", topic=f"responses/{request_id}", data={"done": request.data["action"]})

"""What a workflow may be triggered by, and what it may do then. Each one is small; copy what you need.

headgate dev examples/event_triggered
headgate send orders/created '{"order_id": 42, "total": 120}'
"""

from typing import Any

from headgate import Context, Event, Payload, Reject, RetryLater, workflow


@workflow(id="on_order_created", trigger_on_event="orders/created")
async def on_order_created(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """One logical topic. It publishes an event itself: once, however often the run is repeated."""
    order = payload["events"][0]["data"]
    charged = {"order_id": order["order_id"]}
    await ctx.step.publish_event("announce", topic="orders/charged", data=charged, event_type="charged")
    return charged


@workflow(id="on_order_charged", trigger_on_event="orders/charged")
async def on_order_charged(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """What the workflow above published."""
    return {"shipped": payload["events"][0]["data"]["order_id"]}


@workflow(id="audit", trigger_on_event=["orders/*", "payments/**"])
async def audit(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """A list of patterns: `*` is one segment of a topic, `**` any number of them."""
    event = payload["events"][0]
    return {"seen": event["topic"], "type": event["event_type"]}


def is_large(event: Event[Any]) -> bool:
    """Quick and without effects: it is asked for each event on the topic."""
    return bool(event["data"].get("total", 0) > 100)


@workflow(id="large_orders", trigger_on_event="orders/created", filter=is_large)
async def large_orders(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """A filter decides before a run starts."""
    return {"called_customer_about": payload["events"][0]["data"]["order_id"]}


@workflow(id="batch_processor", trigger_on_event="data/updates", batch_size=10, batch_timeout_seconds=30)
async def batch_processor(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """Up to 10 events a run; it starts when they are there, or when the oldest is 30 s old."""
    return {"sum": sum(event["data"]["value"] for event in payload["events"]), "events": len(payload["events"])}


@workflow(
    id="readings_by_sensor",
    trigger_on_event="sensors.readings",
    batch_size=100,
    batch_timeout_seconds=0.5,
    batch_by="key",
)
async def readings_by_sensor(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """A batch for each key: all events of one run have the same."""
    values = [event["data"]["celsius"] for event in payload["events"]]
    return {"sensor": payload["events"][0]["key"], "highest": max(values)}


@workflow(id="import_contact", trigger_on_event="contacts/imported", max_retries=5, timeout=60)
async def import_contact(ctx: Context, payload: Payload[Any]) -> dict[str, Any]:
    """Two words carry the whole error policy; any other exception is tried again with growing delays."""
    contact = payload["events"][0]["data"]
    if "@" not in contact.get("email", ""):
        raise Reject("a contact needs an e-mail address")  # no attempt can ever succeed
    if contact.get("busy") and ctx.attempt == 1:
        raise RetryLater(0.2)  # whoever is asked will have time later
    return {"imported": contact["email"], "attempt": ctx.attempt}

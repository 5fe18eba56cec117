"""A web shop: two workflows on one event, one of them with typed data.

headgate dev examples/webshop
headgate send order.created '{"id": "o-1", "total": 42.5}' --key ada
"""

from pydantic import BaseModel

from headgate import Context, Payload, Reject, workflow


class Order(BaseModel):
    """What `order.created` carries. Anything else is rejected before the function is called, with the reason."""

    id: str | int
    total: float = 0.0
    customer: str = "a guest"


@workflow(id="charge_order", trigger_on_event="order.created")
async def charge_order(ctx: Context, payload: Payload[Order]) -> dict[str, object]:
    """Charge the customer, and tell the rest of the shop."""
    order = payload["events"][0]["data"]
    if order.total < 0:
        raise Reject(f"order {order.id} has a negative total ({order.total:g})")
    receipt = {"order": order.id, "amount": order.total}
    await ctx.step.publish_event("announce", topic="order.charged", data=receipt)
    return {"charged": order.total}


@workflow(id="reserve_stock", trigger_on_event="order.created")
def reserve_stock(ctx: Context, payload: Payload[Order]) -> dict[str, object]:
    """A plain function: it runs in a thread, so it may block."""
    order = payload["events"][0]["data"]
    ctx.log.info("stock_reserved", order=order.id, customer=order.customer)
    return {"reserved_for": order.id}

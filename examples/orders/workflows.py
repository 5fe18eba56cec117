"""Order processing with approval: a large order waits until somebody has decided, for a day at most.

headgate dev examples/orders
headgate send orders/placed '{"id": "o-1", "total": 1200}' --key ada
headgate send orders/o-1/decided '{"approved": true, "by": "Ann"}'
"""

from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, EventTimeout, Payload, Reject, StepError, workflow

LARGE: Final = 1_000


class Order(BaseModel):
    """What `orders/placed` carries."""

    id: str
    total: float


class Receipt(BaseModel):
    """What the bank says."""

    payment: str
    amount: float


async def charge(order: Order, idempotency_key: str) -> Receipt:
    """Ask the bank. Whoever dies before its answer is recorded asks again with the same key, and pays once."""
    if order.total >= 100_000:
        raise Reject("the card is declined")  # asking again would not help; a broken line raises what it raises
    return Receipt(payment=idempotency_key, amount=order.total)


async def ship(order: Order, receipt: Receipt) -> str:
    """Ask the store for a parcel."""
    return f"parcel-of-{order.id}"


@workflow(id="process_order", trigger_on_event="orders/placed")
async def process_order(ctx: Context, payload: Payload[Order]) -> dict[str, Any]:
    """Have a large order approved; charge and ship; tell the others what became of it."""
    order = payload["events"][0]["data"]
    refusal = await refusal_of(ctx, order) if order.total >= LARGE else None
    if refusal is not None:
        await ctx.step.publish_event("tell", topic="orders/refused", data={"id": order.id, "why": refusal})
        return {"refused": refusal}
    try:
        receipt = await ctx.step.run("charge", charge, order, timeout=30)
    except StepError as error:
        await ctx.step.publish_event("tell", topic="orders/refused", data={"id": order.id, "why": error.message})
        return {"refused": error.message}
    parcel = await ctx.step.run("ship", ship, order, receipt, max_retries=20)
    await ctx.step.publish_event("tell", topic="orders/shipped", data={"id": order.id, "parcel": parcel})
    return {"parcel": parcel, "paid": receipt.amount}


async def refusal_of(ctx: Context, order: Order) -> str | None:
    """Wait for the decision; it may have come already. Return why the order is refused, None if it is approved."""
    try:
        decision = await ctx.step.wait_for_event("decision", topic=f"orders/{order.id}/decided", timeout=24 * 3600)
    except EventTimeout:
        return "nobody decided within a day"
    return None if decision.data["approved"] else f"{decision.data['by']} refused"

"""Prices over a WebSocket, some hundred a second: one run for ten seconds of a product, and an alert when it jumps.

headgate dev examples/price_feed examples/price_feed/sources.yaml
"""

from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Payload, workflow

JUMP: Final = 0.01
"""The part of the price by which it has to move within one candle."""


class Tick(BaseModel):
    """One price, as the exchange tells it: a text of digits there, a number here."""

    product_id: str
    price: float


class Alert(BaseModel):
    """What `alerts/*` carries."""

    product: str
    low: float
    high: float


@workflow(id="candle", trigger_on_event="prices/*", batch_size=500, batch_timeout_seconds=10, batch_by="key")
async def candle(ctx: Context, payload: Payload[Tick]) -> dict[str, Any]:
    """Make a candle of what came of one product in ten seconds, or of 500 prices. Batches survive every restart."""
    ticks = [event["data"] for event in payload["events"]]
    product, prices = ticks[0].product_id, [one.price for one in ticks]
    low, high = min(prices), max(prices)
    if high - low >= JUMP * prices[0]:
        alert = Alert(product=product, low=low, high=high)
        await ctx.step.publish_event("alert", topic=f"alerts/{product}", data=alert, event_key=product)
    return {"product": product, "open": prices[0], "high": high, "low": low, "close": prices[-1], "prices": len(prices)}


@workflow(id="price_alert", trigger_on_event="alerts/*")
async def price_alert(ctx: Context, payload: Payload[Alert]) -> str:
    """Tell somebody. It has retries and an order of its own, and holds no candle up."""
    alert = payload["events"][0]["data"]
    return f"{alert.product} moved between {alert.low:g} and {alert.high:g}"

"""An author's module whose steps return, and raise, all that steps may. A history holds its text as it was."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, Field

from headgate import Reject, RetryLater, StepError, workflow

CALLED: Final[list[str]] = []
"""The steps whose functions were called, as `<run>:<key>`."""


class Line(BaseModel):
    sku: str
    price: Decimal


class Receipt(BaseModel):
    order: int
    lines: list[Line]
    paid_at: datetime


class Renamed(BaseModel):
    order_id: int = Field(alias="orderId")


@dataclass(frozen=True)
class Parcel:
    weight: float
    labels: dict[str, int]
    due: date | None = None
    notes: list[str] = field(default_factory=list)


class Unhelpful(Exception):
    pass


def shown(value: Any) -> Any:
    """Say what a value is, with the types in it: what comes back as another type is another result."""
    if isinstance(value, BaseModel) or is_dataclass(value):
        value, name = dict(vars(value)), type(value).__name__
    else:
        name = type(value).__name__
    if isinstance(value, dict):
        return [name, {key: shown(one) for key, one in value.items()}]
    if isinstance(value, list | tuple | set):
        return [name, [shown(one) for one in value]]
    return [name, str(value)]


async def charge(order: int, idempotency_key: str) -> Receipt:
    CALLED.append(idempotency_key)
    lines = [Line(sku="é-1", price=Decimal("10.50")), Line(sku='"2"', price=Decimal("0.1"))]
    return Receipt(order=order, lines=lines, paid_at=datetime(2026, 1, 1, 12, tzinfo=UTC))


def weigh(idempotency_key: str):  # type: ignore[no-untyped-def] # so the name of its class is recorded
    CALLED.append(idempotency_key)
    return Parcel(1.5, {"fragile": 1}, date(2026, 2, 28), ["€\n"])


async def pack(idempotency_key: str) -> list[Parcel]:
    CALLED.append(idempotency_key)
    return [Parcel(2.0, {}), Parcel(0.25, {"a": 1, "b": 2})]


async def rename(idempotency_key: str) -> Renamed:
    CALLED.append(idempotency_key)
    return Renamed(orderId=7)


def count(idempotency_key: str) -> int:
    """Return what the annotation does not say: it counts as what it is."""
    CALLED.append(idempotency_key)
    return Line(sku="seven", price=Decimal(7))  # type: ignore[return-value]


def name(idempotency_key: str) -> str:
    CALLED.append(idempotency_key)
    return ["no", "text"]  # type: ignore[return-value]


async def tell(idempotency_key: str) -> Any:
    CALLED.append(idempotency_key)
    return {"text": 'é "quoted" \\ \n', "numbers": [1, -2, 1.5, 10**18], "none": None, "yes": True, "": {}}


def mark(idempotency_key: str) -> Any:
    CALLED.append(idempotency_key)
    return {"headgate:type": "Line", "value": {"sku": "an author's own", "price": "1"}}


def sort(idempotency_key: str) -> tuple[int, timedelta, set[str], bytes]:
    CALLED.append(idempotency_key)
    return 3, timedelta(minutes=5), {"x"}, b"raw"


async def nothing(idempotency_key: str) -> None:
    CALLED.append(idempotency_key)


STORED: Final[list[Callable[..., Any]]] = [weigh, pack, rename, count, name, tell, mark, sort, nothing]


@workflow(id="values", trigger_on_event="orders/created", max_retries=1)
async def values(ctx: Any, payload: Any) -> Any:
    found = {"charge": shown(await ctx.step.run("charge", charge, payload["events"][0]["data"]["id"]))}
    for fn in STORED:
        found[fn.__name__] = shown(await ctx.step.run(fn.__name__, fn))
    if ctx.attempt == 1:
        raise Unhelpful("the first attempt ends here")
    found["now"] = shown(await ctx.step.now("now"))
    found["uuid"] = shown(await ctx.step.uuid("uuid"))
    found["random"] = shown(await ctx.step.random("random"))
    with ctx.step.trace("part", number=1):
        found["at once"] = shown(
            await asyncio.gather(
                ctx.step.run("at once: weigh", weigh), ctx.step.run("at once: tell", tell), ctx.step.sleep("at once", 2)
            )
        )
    return found


async def refuse(idempotency_key: str) -> None:
    CALLED.append(idempotency_key)
    raise Unhelpful('out of "stock": é')


def reject(idempotency_key: str) -> None:
    CALLED.append(idempotency_key)
    raise Reject("no such card")


def put_off(idempotency_key: str) -> None:
    CALLED.append(idempotency_key)
    raise RetryLater(7, "the bank sleeps")


async def dawdle(idempotency_key: str) -> None:
    CALLED.append(idempotency_key)
    await asyncio.sleep(3600)


FAILING: Final[dict[str, tuple[Callable[..., Any], dict[str, Any]]]] = {
    "refuse": (refuse, {"max_retries": 1, "base_delay": 4, "max_delay": 5}),
    "reject": (reject, {}),
    "put off": (put_off, {"max_retries": 1}),
    "dawdle": (dawdle, {"max_retries": 0, "timeout": timedelta(seconds=5)}),
}


@workflow(id="failures", trigger_on_event="orders/created", max_retries=0)
async def failures(ctx: Any, payload: Any) -> Any:
    found = {}
    for key, (fn, options) in FAILING.items():
        try:
            await ctx.step.run(key, fn, **options)
        except StepError as error:
            own = error.message if fn in (refuse, reject) else None  # other words are Headgate's, which may find better
            found[key] = [type(error).__name__, error.step_key, error.error_type, own]
    await ctx.step.publish_event("tell", "orders/refused", found, event_type="bad", event_key="k1")
    raise Unhelpful("nothing went well")


@workflow(id="plain", trigger_on_event="orders/created", max_retries=0)
def plain(ctx: Any, payload: Any) -> Any:
    found = {"receipt": shown(ctx.step.run("charge", charge, payload["events"][0]["data"]["id"]))}
    found["parcel"] = shown(ctx.step.run("weigh", weigh))
    found["now"] = shown(ctx.step.now("now"))
    found["uuid"] = str(ctx.step.uuid("uuid"))
    found["random"] = ctx.step.random("random")
    found["told"] = str(ctx.step.publish_event("tell", "orders/plainly", {"plain": True}))
    ctx.step.send("send", "parcels", {"plain": True}, record_key="p")
    try:
        ctx.step.run("refuse", refuse, max_retries=0)
    except StepError as error:
        found["refused"] = [error.error_type, error.message]
    ctx.step.sleep("sleep", 60)
    event = ctx.step.wait_for_event("stock", "stock/in")
    found["event"] = [event.id, event.topic, event.key, event.created_at, event.data]
    return found | {"text": ctx.step.run("say", tell)}

"""An author's module whose runs receive several events of one topic. A history holds its text as it was."""

from typing import Any, Final

from headgate import event_on, workflow

CALLED: Final[list[str]] = []
"""None of its steps has a function."""


def is_even(event: Any) -> bool:
    return bool(event.data["n"] % 2 == 0)


def is_odd(event: Any) -> bool:
    return not is_even(event)


@workflow(id="by_key", trigger_on_event="orders/created", max_retries=0)
async def by_key(ctx: Any, payload: Any) -> Any:
    found = [
        await ctx.step.wait_for_event(f"sent {item}", "items/sent", event_key=item)
        for item in payload["events"][0]["data"]["items"]
    ]
    return [one.id for one in [*found, await ctx.step.wait_for_event("another", "items/sent")]]


@workflow(id="by_type", trigger_on_event="orders/created", max_retries=0)
async def by_type(ctx: Any, payload: Any) -> Any:
    found = [await ctx.step.wait_for_event(one, "items/sent", event_type=one) for one in ("train", "van")]
    return [one.id for one in found]


@workflow(id="by_filter", trigger_on_event="orders/created", max_retries=0)
async def by_filter(ctx: Any, payload: Any) -> Any:
    found = [await ctx.step.wait_for_event(one.__name__, "items/sent", filter=one) for one in (is_odd, is_even)]
    return [one.id for one in found]


@workflow(id="in_order", trigger_on_event="orders/created", max_retries=0)
async def in_order(ctx: Any, payload: Any) -> Any:
    both = [event_on("items/sent", event_key="cup"), event_on("items/sent", event_key="tea")]
    first = [one.id for one in await ctx.step.wait_for_all("both", both)]
    return first + [(await ctx.step.wait_for_event(f"then {n}", "items/*")).id for n in range(3)]

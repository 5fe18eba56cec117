"""An author's module whose runs start, resume and tell others. A history holds its text as it was."""

from typing import Any, Final

from headgate import ChildError, Reject, workflow

CALLED: Final[list[str]] = []
"""The steps whose functions were called, as `<run>:<key>`."""


def note(idempotency_key: str) -> str:
    CALLED.append(idempotency_key)
    return "noted"


class Lost(Exception):
    pass


@workflow(id="asks", trigger_on_event="orders/created", max_retries=0)
async def asks(ctx: Any, payload: Any) -> Any:
    order = payload["events"][0]["data"]["id"]
    told = await ctx.step.publish_event(
        "tell the clerk", "clerk/asked", {"run": ctx.run_id, "step": "approval é"}, "question", event_key="desk"
    )
    await ctx.step.send("send", "parcels", {"order": order, "text": "é"}, record_key="k", headers={"of": "é"})
    await ctx.step.send("send bytes", "parcels", b"\x00\xff", record_key=b"\xfe")
    await ctx.step.send("send nothing", "parcels", None, record_key="k")
    by_run = await ctx.step.suspend("approval é", {"who": "the clerk", "order": order}, timeout=3600)
    by_person = await ctx.step.suspend("by a person")
    return {"told": told, "by run": by_run, "by person": by_person, "noted": await ctx.step.run("note", note)}


@workflow(id="clerk", trigger_on_event="clerk/asked")
async def clerk(ctx: Any, payload: Any) -> Any:
    asked = payload["events"][0]["data"]
    await ctx.step.run("note", note)
    await ctx.step.sleep("think", 30)
    await ctx.step.resume("resume", asked["run"], asked["step"], {"approved": True, "by": "é"})


@workflow(id="ship", max_retries=0)
async def ship(ctx: Any, payload: Any) -> Any:
    parcel = payload["events"][0]["data"]
    await ctx.step.run("note", note)
    await ctx.step.sleep("on its way", parcel["seconds"])
    if parcel.get("lost"):
        raise Lost("at sea")
    if parcel.get("refused"):
        raise Reject("nobody is at home")
    return {"sent": parcel}


@workflow(id="family", trigger_on_event="orders/created", max_retries=0)
async def family(ctx: Any, payload: Any) -> Any:
    found: dict[str, Any] = {"one": await ctx.step.invoke("one", ship, {"seconds": 1})}
    found["several"] = await ctx.step.batch_invoke("several", [("ship", {"seconds": n}) for n in range(2)])
    found["awaited"] = await ctx.step.invoke_and_wait("awaited", "ship", {"seconds": 40, "to": "é"})
    found["all"] = await ctx.step.batch_invoke_and_wait("all", [(ship, {"seconds": 3}), (ship, {"seconds": 1})])
    children = {
        "lost": [(ship, {"seconds": 1, "lost": True})],
        "refused": [(ship, {"seconds": 0}), (ship, {"seconds": 2, "refused": True}), (ship, {"seconds": 9})],
    }
    for key, given in children.items():
        try:
            await ctx.step.batch_invoke_and_wait(key, given)
        except ChildError as error:
            found[key] = [error.error_type, error.message, error.workflow_id, error.status, error.number, error.results]
    return found


@workflow(id="plainly", trigger_on_event="orders/created", max_retries=0)
def plainly(ctx: Any, payload: Any) -> Any:
    sent = ctx.step.invoke_and_wait("ship", ship, {"seconds": 20})
    try:
        ctx.step.invoke_and_wait("lost", ship, {"seconds": 0, "lost": True})
    except ChildError as error:
        return [sent, error.error_type, error.message, ctx.step.run("note", note)]

"""DBOS's side of durable runs: its library in an ASGI application, on PostgreSQL.

Fast settings: async workflows and steps; the caller awaits the workflow in the process that runs it, so nothing polls a
queue or a status (both would add up to a second); uvicorn with uvloop and httptools and a bare ASGI callable in place
of FastAPI; orjson; log level ERROR; a pool of 20 connections over a unix socket; as many processes as the harness says.
The cluster: 512 MB shared buffers, checkpoints as rarely as 8 GB of log allow. Durability: a commit waits for fsync
(PostgreSQL's default), or leaves that to the operating system, as Kafka does (`dbos-os`, `synchronous_commit = off`).
"""

import os
import time
from typing import Any

import orjson
from dbos import DBOS, SetWorkflowID  # type: ignore[import-not-found]

from benchmarks.sides import diary, work

DBOS(
    config={
        "name": "bench",
        "system_database_url": os.environ["BENCH_POSTGRES"],
        "sys_db_pool_size": 20,
        "log_level": "ERROR",
        "executor_id": os.environ.get("BENCH_EXECUTOR") or f"bench-{os.getpid()}",
        "application_version": "1",
    }
)


@DBOS.step()  # type: ignore[untyped-decorator]
async def reserve(data: dict[str, Any]) -> dict[str, Any]:
    """Step 1."""
    return await work.reserve(data)


@DBOS.step()  # type: ignore[untyped-decorator]
async def charge(run_id: str, reserved: dict[str, Any], price: int) -> dict[str, Any]:
    """Step 2."""
    return await work.charge(run_id, reserved, price)


@DBOS.step()  # type: ignore[untyped-decorator]
async def ship(run_id: str, charged: dict[str, Any]) -> dict[str, Any]:
    """Step 3."""
    return await work.ship(run_id, charged)


@DBOS.step()  # type: ignore[untyped-decorator]
async def count(run_id: str, number: int) -> int:
    """A step of a long run."""
    return await work.count(run_id, number)


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def order(data: dict[str, Any]) -> dict[str, Any]:
    """Three steps."""
    reserved = await reserve(data)
    charged = await charge(data["id"], reserved, data["price"])
    shipped: dict[str, Any] = await ship(data["id"], charged)
    return shipped


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def journal(data: dict[str, Any]) -> dict[str, Any]:
    """As many steps as the event says, one after the other."""
    total = 0
    for number in range(1, data["steps"] + 1):
        total += await count(data["id"], number)
    return {"id": data["id"], "total": total}


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def timer(data: dict[str, Any]) -> dict[str, Any]:
    """Sleep until the run's own moment."""
    work.pen.note(data["id"], diary.PARKED)
    await DBOS.sleep_async(max(0.0, work.due(data) - time.time()))
    work.pen.note(data["id"], diary.RANG)
    return {"id": data["id"]}


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def wait(data: dict[str, Any]) -> dict[str, Any]:
    """Wait for the message that `wake` sends."""
    work.pen.note(data["id"], diary.PARKED)
    await DBOS.recv_async("woken", timeout_seconds=86_400)
    work.pen.note(data["id"], diary.WOKEN)
    return {"id": data["id"]}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """`/order` and `/journal` answer with the result, `/timer` and `/wait` once the run is stored, `/wake` wakes."""
    if scope["type"] == "lifespan":
        await receive()
        DBOS.launch()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        DBOS.destroy()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message.get("more_body"):
            break
    event = orjson.loads(body or b"{}")
    answer: Any = {}
    if scope["path"] == "/wake":
        await DBOS.send_async(event["key"], event["data"]["id"], "woken")
    elif scope["path"] in BACKGROUND:
        with SetWorkflowID(event["id"]):
            await DBOS.start_workflow_async(BACKGROUND[scope["path"]], event["data"])
    elif scope["path"] in ANSWERED:
        with SetWorkflowID(event["id"]):
            answer = await ANSWERED[scope["path"]](event["data"])
    data = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": data})


ANSWERED = {"/order": order, "/journal": journal}
BACKGROUND = {"/timer": timer, "/wait": wait}

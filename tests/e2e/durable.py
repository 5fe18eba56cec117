"""The durable workflows under test: steps, waits, children, people. What they do is noted in a diary.

A line of the diary is written when a process has loaded this file, when the function of a step is called, and when a
workflow has got the result of a step or of a wait: by then it is journaled (`tests.e2e.diary` reads it).
"""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

from headgate import Context, EventTimeout, Payload, Reject, RetryLater, after, event_on, workflow

Numbers = dict[str, list[int]]
PATIENCE = 600
BULK_BYTES = 600_000
_diary = os.environ.get("DIARY")
_tried: set[str] = set()


def note(what: str, run: str = "", step: str = "", *more: object) -> None:
    if _diary is not None:
        with Path(_diary).open("a") as diary:
            diary.write("\t".join(map(str, (what, os.getpid(), run, step, *more))) + "\n")


note("began")


def numbers(payload: Payload[Any]) -> Numbers:
    return {"n": [event["data"]["n"] for event in payload["events"]]}


def _ran(idempotency_key: str, attempt: int) -> None:
    run, _, step = idempotency_key.rpartition(":")
    note("ran", run, step, attempt, time.time_ns() // 1_000_000)


async def _step(ctx: Context, key: str, fn: Any, *args: Any, **options: Any) -> Any:
    """A step whose executions and result are noted."""
    result = await ctx.step.run(key, fn, *args, ctx.attempt, **options)
    note("got", ctx.run_id, key, result)
    return result


def double(number: int, attempt: int, idempotency_key: str) -> int:
    _ran(idempotency_key, attempt)
    return 2 * number


async def adouble(number: int, attempt: int, idempotency_key: str) -> int:
    _ran(idempotency_key, attempt)
    await asyncio.sleep(0.01)
    return 2 * number


def flaky_double(number: int, attempt: int, idempotency_key: str) -> int:
    """Fails the first time in each process."""
    _ran(idempotency_key, attempt)
    if idempotency_key not in _tried:
        _tried.add(idempotency_key)
        raise RetryLater(0.1)
    return 2 * number


@workflow(id="stepping", trigger_on_event="load/stepping")
async def stepping(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Three steps, one of which is tried again; their results must be there after any crash."""
    numbers_ = numbers(payload)
    first = await _step(ctx, "first", double, numbers_["n"][0])
    await ctx.step.sleep("pause", seconds=0.2)
    second = await _step(ctx, "second", adouble, first)
    moment = await ctx.step.now("moment")
    third = await _step(ctx, "third", flaky_double, second, max_retries=100)
    note("got", ctx.run_id, "moment", moment.isoformat())
    if third != 8 * numbers_["n"][0] or moment.tzinfo is None:
        raise Reject(f"three steps made {third} of {numbers_}")
    return numbers_


@workflow(id="asking", trigger_on_event="load/asking", order="none")
async def asking(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Asks another workflow and waits for its answer, which may come before the wait."""
    name = await ctx.step.uuid("name")
    data = payload["events"][0]["data"]
    await ctx.step.publish_event("ask", topic="load/asked", data=data | {"answer_to": f"answers/{name}"})
    answer = await ctx.step.wait_for_event("answer", topic=f"answers/{name}", timeout=PATIENCE)
    return _fits(ctx, payload, "answer", answer.id, answer.data["n"])


def _fits(ctx: Context, payload: Payload[Any], step: str, met_by: str, number: int) -> Numbers:
    note("met", ctx.run_id, step, met_by)
    if [number] != numbers(payload)["n"]:
        raise Reject(f"{numbers(payload)} got the answer {number}")
    return numbers(payload)


@workflow(id="asked", trigger_on_event="load/asked")
async def asked(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Answers at once."""
    data = payload["events"][0]["data"]
    await ctx.step.publish_event("answer", topic=data["answer_to"], data={"n": data["n"]})
    return numbers(payload)


@workflow(id="keyed", trigger_on_event="load/keyed", order="none")
async def keyed(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Waits for an event with a key, which another producer sends: at once or much later."""
    number = numbers(payload)["n"][0]
    letter = await ctx.step.wait_for_event("letter", "letters/keyed", timeout=PATIENCE, event_key=f"a{number}")
    return _fits(ctx, payload, "letter", letter.id, letter.data["n"])


@workflow(id="keyless", trigger_on_event="load/keyless", order="none")
async def keyless(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Waits for an event whatever its key is."""
    number = numbers(payload)["n"][0]
    met = await ctx.step.wait_for_any("letter", [event_on(f"letters/{number}"), after(seconds=PATIENCE)])
    if met.event is None:
        raise Reject(f"{number}: no letter came")
    return _fits(ctx, payload, "letter", met.event.id, met.event.data["n"])


@workflow(id="vain", trigger_on_event="load/vain", order="none")
async def vain(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Waits for what never comes."""
    try:
        await ctx.step.wait_for_event("letter", "letters/never", timeout=0.5, event_key=ctx.run_id)
    except EventTimeout:
        note("met", ctx.run_id, "letter", "nothing")
        return numbers(payload)
    raise Reject("a letter came that nobody sent")


@workflow(id="parent", trigger_on_event="load/parent", order="none")
async def parent(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Starts two runs and waits for both."""
    data = payload["events"][0]["data"]
    results = await ctx.step.batch_invoke_and_wait("children", [("child", data), ("nephew", data)])
    note("met", ctx.run_id, "children", results)
    if results != [numbers(payload)] * 2:
        raise Reject(f"the children of {data} came to {results}")
    return numbers(payload)


@workflow(id="child")
async def child(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Started by a run; outlives its round."""
    await _step(ctx, "only", adouble, payload["events"][0]["data"]["n"])
    return numbers(payload)


@workflow(id="nephew")
async def nephew(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Started by a run; ends at once."""
    return numbers(payload)


@workflow(id="suspended", trigger_on_event="load/suspended", order="none")
async def suspended(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Is resumed by another workflow, perhaps before it is suspended."""
    data = payload["events"][0]["data"]
    await ctx.step.publish_event("ask", topic="load/resuming", data=data | {"run": ctx.run_id})
    decision = await ctx.step.suspend("decision", timeout=PATIENCE)
    return _fits(ctx, payload, "decision", "", decision["n"])


@workflow(id="resuming", trigger_on_event="load/resuming")
async def resuming(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Decides."""
    data = payload["events"][0]["data"]
    await ctx.step.resume("decide", data["run"], "decision", {"n": data["n"]})
    return numbers(payload)


@workflow(id="cancelled", trigger_on_event="load/cancelled", cancel_on="load/cancel")
async def cancelled(ctx: Context, payload: Payload[Any]) -> None:
    """Sleeps until somebody cancels it."""
    await _step(ctx, "first", double, 1)
    await ctx.step.sleep("long", PATIENCE)
    raise Reject("nobody has cancelled it")


@workflow(id="bulky", trigger_on_event="load/bulky", order="none")
async def bulky(ctx: Context, payload: Payload[Any]) -> Numbers:
    """Publishes more at once than one record batch of the journal takes."""
    await asyncio.gather(
        *(ctx.step.publish_event(f"part {n}", topic="nobody/listens", data="x" * BULK_BYTES) for n in range(8))
    )
    return numbers(payload)

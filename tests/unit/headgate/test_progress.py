"""headgate.progress: what a test is shown of runs, by `Service.runs`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from headgate import Reject, event_on, workflow
from headgate.testing import OpenStep, Run, Service
from topics import keys

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
CANCELLED = "RunCancelled: the run was cancelled: an event on 'headgate/cancel' asked for it"


async def called(what: str) -> str:
    if what == "fails":
        raise ValueError("the line is busy")
    if what == "lasts":
        await asyncio.sleep(60)
    return what


@workflow(id="child")
async def child(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("nap", hours=1)


@workflow(id="waits", trigger_on_event="doors/rung")
async def waits(ctx: Any, payload: Any) -> Any:
    async with asyncio.TaskGroup() as group:
        for one in (
            ctx.step.suspend("decision", data={"who": "Ada"}, timeout=3_600),
            ctx.step.wait_for_event("opened", "doors/opened", event_key="front"),
            ctx.step.sleep("pause", 90),
            ctx.step.run("ring", called, "fails", max_retries=1, base_delay=1_000, max_delay=1_000),
            ctx.step.run("talk", called, "lasts"),
            ctx.step.run("look", called, "is over"),
            ctx.step.invoke_and_wait("child", child),
        ):
            group.create_task(waited(one))


async def waited(step: Any) -> Any:
    return await step


def run_id(workflow_id: str, event_id: str, key: str | None = None) -> str:
    return keys.run_id(workflow_id, keys.event_digest("", key, event_id))


def step(key: str, kind: str, what: str, **other: Any) -> OpenStep:
    return OpenStep(**{"key": key, "kind": kind, "state": "open", "what": what, "until": None, "data": None} | other)


def test_a_run_that_goes_on_shows_what_it_waits_for_and_until_when() -> None:
    with Service(waits, child) as service:
        service.send("doors/rung", key="k", id="ring-1")
        service.advance(1)
        (run,) = service.runs(waits)
        (ring,) = [one for one in run.open_steps if one.key == "ring"]
        assert ring.until is not None
        assert BEGIN < ring.until <= BEGIN + timedelta(seconds=1_000)
        assert run == Run(
            run_id=run_id("waits", "ring-1", "k"),
            workflow_id="waits",
            status="retrying",
            reason="ValueError: the line is busy",
            key="k",
            open_steps=(
                step("decision", "suspend", "suspend", until=BEGIN + timedelta(hours=1), data={"who": "Ada"}),
                step("opened", "await", "wait_for_event topic='doors/opened' event_key='front'"),
                step("pause", "sleep", "sleep", until=BEGIN + timedelta(seconds=90)),
                step("child", "invoke", "invoke_and_wait child (1)"),
                step("ring", "run", "run", state="retrying", until=ring.until),
                step("talk", "run", "run", state="running"),
            ),
        )
        (nap,) = service.runs("child")
        assert (nap.status, nap.reason, [one.key for one in nap.open_steps]) == ("waiting", None, ["nap"])


@workflow(id="says", trigger_on_event="words/heard", max_retries=1)
async def says(ctx: Any, payload: Any) -> Any:
    word = payload["events"][0]["data"]
    if word == "wait":
        await ctx.step.wait_for_any("any", [event_on("words/said"), event_on("words/written")])
    if word == "no":
        raise Reject("not that word")
    if word == "fail" or (word == "twice" and ctx.attempt == 1):
        raise ValueError("no voice")
    if word == "think":
        await asyncio.sleep(60)
    return word


def status_of(service: Service) -> dict[str, tuple[str, str | None]]:
    words = {run_id("says", one.id): one.data for one in service.events()}
    return {words[one.run_id]: (one.status, one.reason) for one in service.runs()}


def test_runs_are_shown_in_their_order_with_how_they_are_or_ended_and_why() -> None:
    with Service(says) as service:
        for number, word in enumerate(("wait", "yes", "no", "think", "fail", "twice")):
            service.send("words/heard", word, id=f"w-{number}")
            service.advance(0.01)
        assert list(status_of(service).items()) == [
            ("wait", ("waiting", None)),
            ("yes", ("completed", None)),
            ("no", ("rejected", "Reject: not that word")),
            ("think", ("running", None)),
            ("fail", ("retrying", "ValueError: no voice")),
            ("twice", ("retrying", "ValueError: no voice")),
        ]
        service.cancel(service.runs()[0].run_id)
        service.advance(hours=1)
        assert status_of(service) == {
            "wait": ("cancelled", CANCELLED),
            "yes": ("completed", None),
            "no": ("rejected", "Reject: not that word"),
            "think": ("completed", None),
            "fail": ("failed", "ValueError: no voice"),
            "twice": ("completed", None),
        }
        assert [one.open_steps for one in service.runs()] == [()] * 6


def test_a_stuck_run_shows_what_it_waited_for_and_why_it_is_stuck() -> None:
    @workflow(id="says", trigger_on_event="words/heard")
    async def changed(ctx: Any, payload: Any) -> Any:
        await ctx.step.sleep("any", 60)

    with Service(says) as service:
        service.send("words/heard", "wait", id="w-1")
        service.restart(changed)
        assert [one.status for one in service.runs()] == ["waiting"]
        service.send("words/said")
        (run,) = service.runs()
        assert (run.status, [one.key for one in run.open_steps]) == ("stuck", [])
        assert run.reason is not None
        assert run.reason.startswith("HistoryMismatch: ")
        assert "'any'" in run.reason
        assert service.results() == []


def test_what_waits_for_its_turn_is_no_run_yet() -> None:
    @workflow(trigger_on_event="steps/taken", order="strict")
    async def queued(ctx: Any, payload: Any) -> Any:
        await ctx.step.sleep("pause", 60)

    with Service(queued) as service:
        service.send("steps/taken", key="k")
        service.send("steps/taken", key="k")
        assert [one.status for one in service.runs()] == ["waiting"]
        service.advance(60)
        assert [one.status for one in service.runs(queued)] == ["completed", "waiting"]

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel

from app.engine.tables.recorded import Steps
from app.engine.values.asks import Kind, Outcome, Recorded
from app.runtime.replay import History
from headgate.errors import HeadgateError, HistoryMismatch
from tests.unit.app.runtime.standin import Engines, done


class Order(BaseModel):
    total: int


def step(key: str, kind: Kind = Kind.RUN, about: str = "run", *, par: bool = False, over: bool = True) -> Recorded:
    return Recorded(key=key, kind=kind, about=about, par=par, outcome=Outcome(b"1") if over else None)


def test_recorded_steps_are_visited_in_any_order_and_then_new_ones() -> None:
    a, b = step("a"), step("b", Kind.SLEEP, "sleep")
    history = History([a, b])

    assert history.visit("b", Kind.SLEEP, "sleep") is b
    assert history.visit("a", Kind.RUN, "run") is a
    assert history.visit("new", Kind.RUN, "run") is None
    history.end()


@pytest.mark.parametrize(
    ("asked", "recorded", "attempted"),
    [
        (("a", Kind.SLEEP, "sleep"), "wait_for_event topic='x'", "sleep"),
        (("a", Kind.AWAIT, "wait_for_event topic='y'"), "wait_for_event topic='x'", "wait_for_event topic='y'"),
        (("b", Kind.RUN, "run"), None, "run"),
    ],
)
def test_another_step_than_the_recorded_one_is_a_mismatch(
    asked: tuple[str, Kind, str], recorded: str | None, attempted: str
) -> None:
    history = History([step("a", Kind.AWAIT, "wait_for_event topic='x'")])

    with pytest.raises(HistoryMismatch) as caught:
        history.visit(*asked)
    assert (caught.value.step_key, caught.value.recorded, caught.value.attempted) == (asked[0], recorded, attempted)
    assert str(caught.value).endswith("; then `headgate runs retry ID` lets the run go on")


def test_what_was_recorded_without_words_fits_anything_of_its_kind() -> None:
    history = History([step("a", Kind.NOTE, "")])
    assert history.visit("a", Kind.NOTE, "publish_event topic='x'") is not None
    with pytest.raises(HistoryMismatch):
        history.visit("a", Kind.RUN, "run")


def test_a_recorded_step_that_was_never_asked_for_is_a_mismatch_at_the_end() -> None:
    history = History([step("a"), step("b")])
    history.visit("a", Kind.RUN, "run")
    with pytest.raises(HistoryMismatch) as caught:
        history.end()
    assert (caught.value.step_key, caught.value.recorded, caught.value.attempted) == ("b", "run", None)


def test_concurrent_code_may_ask_for_new_steps_at_any_time() -> None:
    assert History([step("a"), step("b", par=True)]).visit("new", Kind.RUN, "run") is None


def test_what_ends_before_it_is_asked_for_again_is_remembered_once() -> None:
    history = History([step("a", over=False), step("b")])
    history.ended("a", Outcome(b"2"))
    history.ended("a", Outcome(b"3"))
    history.ended("b", Outcome(b"3"))
    history.ended("unknown", Outcome(b"3"))

    found = [history.visit(key, Kind.RUN, "run") for key in ("a", "b")]
    assert [one and one.outcome for one in found] == [Outcome(b"2"), Outcome(b"1")]


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ([done("a", Kind.SLEEP, "sleep")], "asks in step 'a' for run, recorded is sleep"),
        ([done("a"), done("gone")], "asks for step 'b' (run), which is not recorded, before steps that are"),
        ([done("a"), done("b"), done("gone")], "ended without asking for step 'gone' (run), which is recorded"),
    ],
)
@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_code_that_does_not_fit_its_history_is_stuck_with_what_was_recorded_and_attempted(
    engines: Engines, recorded: list[Recorded], words: str, swallows: bool, plain: bool
) -> None:
    async def two(ctx: Any) -> str:
        try:
            await ctx.step.run("a", int)
            await ctx.step.run("b", int)
        except HeadgateError:
            if not swallows:
                raise
        return "done"

    def two_plainly(ctx: Any) -> str:
        try:
            ctx.step.run("a", int)
            ctx.step.run("b", int)
        except HeadgateError:
            if not swallows:
                raise
        return "done"

    engine = engines(two_plainly if plain else two)
    engine.recorded = {one.key: one for one in recorded}
    await engine.rise()
    failure = (await engine.until_ended()).failure

    assert failure is not None
    assert (failure.type, failure.stuck, failure.final) == ("HistoryMismatch", True, False)
    assert failure.message.startswith(f"the workflow {words}; ")


@pytest.mark.parametrize("annotated", [False, True])
async def test_a_result_that_does_not_fit_the_code_any_more_is_stuck(engines: Engines, annotated: bool) -> None:
    def unsaid() -> Any: ...
    def said() -> Order: ...  # type: ignore[empty-body]

    async def one(ctx: Any) -> Any:
        return (await ctx.step.run("a", said if annotated else unsaid)).total

    engine = engines(one)
    written = b'{"sum":1}' if annotated else b'{"headgate:type":"Order","value":{"sum":1}}'
    engine.recorded = {"a": replace(done("a"), outcome=Outcome(written))}
    await engine.rise()
    failure = (await engine.until_ended()).failure

    assert failure is not None
    assert (failure.type, failure.stuck) == ("NotStorable", True)
    assert "/total: Field required" in failure.message


async def test_a_run_that_returns_without_any_step_though_some_are_recorded_is_stuck(engines: Engines) -> None:
    async def nothing(ctx: Any) -> None: ...

    engine = engines(nothing)
    engine.recorded = {"a": done("a")}
    await engine.rise()
    failure = (await engine.until_ended()).failure
    assert failure is not None
    assert failure.stuck


async def test_concurrent_code_may_ask_for_new_steps_before_the_recorded_ones(engines: Engines) -> None:
    async def two(ctx: Any) -> list[int]:
        new = await ctx.step.run("new", int, 5)
        return [new, await ctx.step.run("a", int)]

    engine = engines(two)
    engine.recorded = {"a": done("a", par=True)}
    await engine.rise()
    assert (await engine.until_ended()).result == b"[5,1]"


async def test_tasks_of_a_run_that_publish_may_do_so_in_another_order_after_a_crash(engines: Engines) -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def both(ctx: Any) -> Any:
        async def tell(key: str) -> Any:
            await gates[key].wait()
            return await ctx.step.publish_event(key, "told", key)

        return await asyncio.gather(tell("a"), tell("b"))

    engine = engines(both)
    await engine.start()
    gates["b"].set()
    await engine.until_asked("b")
    assert [(one.key, one.aside) for one in engine.asked] == [("b", True)]
    gates["a"].set()
    gates["b"].clear()
    await engine.crash()
    await engine.until_asked("a")
    gates["b"].set()

    assert (await engine.until_ended()).failure is None


async def test_the_first_of_several_steps_at_once_may_come_last_after_a_crash(engines: Engines) -> None:
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def both(ctx: Any) -> Any:
        async def call(key: str) -> Any:
            await gates[key].wait()
            return await ctx.step.run(key, int)

        return await asyncio.gather(call("a"), call("b"))

    engine = engines(both)
    # As the journal has it when "b" was asked for while "a" was open, and only "a" has ended.
    engine.recorded = {"a": done("a")}
    engine.run.steps = Steps(engine.run.id)
    engine.run.steps.par = True
    gates["b"].set()
    await engine.rise()
    await engine.until_asked("b")
    gates["a"].set()

    assert (await engine.until_ended()).result == b"[1,0]"

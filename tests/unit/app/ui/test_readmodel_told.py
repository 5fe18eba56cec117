"""Who asks the read model for what was told already, and how old it says that it is."""

import asyncio
from dataclasses import dataclass

import orjson
import pytest

from app.ui import readmodel
from app.ui.readmodel import Source
from tests.unit.app.ui.records import Open, fact, listed, result, take


@dataclass(frozen=True)
class Lag:
    records: int
    seconds: float


@dataclass(frozen=True)
class Follower:
    is_caught_up: bool
    of: Lag

    def lag(self) -> Lag:
        return self.of


async def test_what_is_asked_waits_for_results_that_were_told_of(opened: Open) -> None:
    async with opened() as model, asyncio.timeout(10):
        told = {0: 0}
        model.keep_up_with(told)
        await take(model, Source.RESULTS, result("w:1", offset=0))
        told[0] = 3
        one, all_of_them = asyncio.create_task(model.run("w:3")), asyncio.create_task(listed(model))
        await take(model, Source.RESULTS, result("w:2", offset=1, finished=1))
        assert (one.done(), all_of_them.done()) == (False, False)
        await take(model, Source.RESULTS, result("w:3", offset=2, finished=2))
        found = await one
        assert found is not None
        assert orjson.loads(found[0])["run_id"] == "w:3"
        assert await all_of_them == ["w:3", "w:2", "w:1"]


async def test_who_asks_for_what_was_told_is_not_kept_waiting_by_what_gathers(opened: Open) -> None:
    async with opened(gather_seconds=60.0) as model, asyncio.timeout(10):
        told = {0: 2}
        model.keep_up_with(told)
        first = asyncio.create_task(take(model, Source.RESULTS, result("w:1", offset=0)))
        await asyncio.wait({first}, timeout=0.01)
        assert not first.done()
        asking = asyncio.create_task(model.run("w:2"))
        await first  # its follower may fetch what comes next
        last = asyncio.create_task(take(model, Source.RESULTS, result("w:2", offset=1)))
        assert await asking is not None
        last.cancel()


async def test_nobody_waits_long_for_what_does_not_come(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readmodel, "REACH_SECONDS", 0.01)
    async with opened() as model, asyncio.timeout(10):
        model.keep_up_with({0: 10})
        assert await model.run("w:1") is None


async def test_a_run_whose_facts_say_that_it_is_over_is_shown_with_its_result(opened: Open) -> None:
    async with opened() as model, asyncio.timeout(10):
        await take(model, Source.RUNS, fact("run_finished", "w:1", when=1, status="completed"))
        asking = asyncio.create_task(model.run("w:1"))
        await take(model, Source.RESULTS, result("w:2", offset=0))
        assert not asking.done()
        await take(model, Source.RESULTS, result("w:1", offset=1))
        found = await asking
        assert found is not None
        assert orjson.loads(found[0])["result"] == {"n": 1}


async def test_it_says_how_far_behind_it_is_and_whether_it_is_being_rebuilt(opened: Open) -> None:
    async with opened() as model:
        model.watch([Follower(is_caught_up=True, of=Lag(3, 0.5)), Follower(is_caught_up=False, of=Lag(4, 2.0))])
        assert model.freshness() == {"behind_records": 7, "behind_seconds": 2.0, "rebuilding": True}
        model.watch([Follower(is_caught_up=True, of=Lag(0, 0.0))])
        assert model.freshness() == {"behind_records": 0, "behind_seconds": 0.0, "rebuilding": False}

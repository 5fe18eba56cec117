"""What the read model keeps, and what goes first."""

from datetime import timedelta

import orjson
import pytest

from app.ui.bounds import GOING_ON_BYTES
from app.ui.readmodel import Source
from tests.unit.app.ui.records import Open, Record, at, fact, listed, result, take, waiting


async def test_the_oldest_runs_go_first(opened: Open) -> None:
    async with opened(runs=3, dead_letters=2) as model:
        await take(model, Source.RESULTS, *(result(f"w:{n}", finished=n, offset=n) for n in range(10)))
        letters = [Record(orjson.dumps({"code": "c", "at": at(n)}), offset=n) for n in range(5)]
        await take(model, Source.DEAD_LETTERS, *letters)
        await model._write(model.trim)
        assert await listed(model) == ["w:9", "w:8", "w:7"]
        assert await model.dead_letters() == [letters[4].value, letters[3].value]


async def test_old_runs_go_whatever_their_number(opened: Open) -> None:
    async with opened(age=timedelta(seconds=100)) as model:
        await take(model, Source.RESULTS, result("w:old", finished=-101), result("w:new", finished=-99, offset=1))
        await model._write(model.trim)
        assert await listed(model) == ["w:new"]


async def test_an_old_run_that_waits_stays_with_its_facts_until_it_is_over(opened: Open) -> None:
    async with opened(age=timedelta(seconds=100)) as model:
        for n, run_id in enumerate(("w:1", "w:2")):
            started = fact("run_started", run_id, when=-200, offset=2 * n)
            await take(model, Source.RUNS, started, fact("step_waiting", run_id, when=-200, offset=2 * n + 1, step="a"))
        await take(model, Source.RUNS, fact("step_finished", "w:2", when=-150, offset=4, step="a"))
        await model._write(model.trim)
        assert await listed(model) == ["w:1"]
        assert len((await model.run("w:1"))[1]) == 2
        await take(model, Source.RESULTS, result("w:1", finished=-101))
        await model._write(model.trim)
        assert await listed(model) == []
        assert model._writing.execute("SELECT count(*) FROM fact").fetchone() == (0,)


@pytest.mark.parametrize("last", ["step_waiting", "step_retried", "run_stuck", "run_resumed"])
async def test_a_run_that_goes_on_stays_with_its_facts_however_many_others_end(opened: Open, last: str) -> None:
    async with opened(runs=3) as model:
        await take(model, Source.RUNS, *waiting("w:on"), fact(last, "w:on", when=-199, offset=2, step="a"))
        status = (await model.runs())[0][0]["status"]
        for n in range(10):
            told = [
                fact(name, f"w:{n}", when=n, offset=3 + 2 * n + place, status="completed")
                for place, name in enumerate(("run_started", "run_finished"))
            ]
            await take(model, Source.RUNS, *told)
            await take(model, Source.RESULTS, result(f"w:{n}", finished=n, offset=n))
            await model._write(model.trim)
        assert await listed(model) == ["w:9", "w:8", "w:7", "w:on"]
        assert await listed(model, status=status) == ["w:on"]
        assert len((await model.run("w:on"))[1]) == 3
        assert [len((await model.run(f"w:{n}"))[1]) for n in (7, 8, 9)] == [0, 1, 2]


async def test_a_run_that_waited_long_is_among_the_newest_when_it_ends(opened: Open) -> None:
    async with opened(runs=3) as model:
        await take(model, Source.RUNS, *waiting("w:on"))
        await take(model, Source.RESULTS, *(result(f"w:{n}", finished=n, offset=n) for n in range(10)))
        await take(model, Source.RUNS, fact("run_finished", "w:on", when=11, offset=2, status="completed"))
        await take(model, Source.RESULTS, result("w:on", finished=11, offset=10))
        await model._write(model.trim)
        assert await listed(model) == ["w:on", "w:9", "w:8"]
        assert model._writing.execute("SELECT * FROM step").fetchall() == []


async def test_of_runs_that_go_on_the_oldest_go_above_a_bound_of_their_own(opened: Open) -> None:
    async with opened(going_on=2) as model:
        await take(model, Source.RESULTS, result("w:over", finished=-300))
        for n in range(4):
            told = [fact("run_started", f"w:{n}", when=n, offset=2 * n), fact("step_waiting", f"w:{n}", when=n,
                    offset=2 * n + 1, step="a")]  # fmt: skip
            await take(model, Source.RUNS, *told)
        await model._write(model.trim)
        assert await listed(model) == ["w:3", "w:2", "w:over"]
        counts = model._writing.execute("SELECT (SELECT count(*) FROM fact), (SELECT count(*) FROM step)")
        assert counts.fetchone() == (4, 2)


async def test_of_one_run_that_tells_much_its_start_and_what_it_waits_for_are_kept(opened: Open) -> None:
    async with opened(facts_of_run=5) as model:
        await take(model, Source.RUNS, *waiting("w:1"), *waiting("w:2", offset=2))
        for n in range(20):
            await take(model, Source.RUNS, fact("step_finished", "w:1", when=n, offset=4 + n, step=f"s{n}"))
            await model._write(model.trim)
        _, facts = await model.run("w:1")
        steps = [orjson.loads(one).get("step", "") for one in facts]
        assert steps == ["", "a", "s15", "s16", "s17", "s18", "s19"]
        assert len((await model.run("w:2"))[1]) == 2


async def test_a_run_whose_start_is_not_kept_is_known_by_its_later_facts(opened: Open) -> None:
    async with opened() as model:
        await take(model, Source.RUNS, fact("step_waiting", "w:1", when=1, offset=7, step="a"))
        found, _ = await model.runs(status="waiting")
        assert [(one["run_id"], one["workflow_id"], one["started_at"]) for one in found] == [("w:1", "w", None)]


async def test_neither_what_is_over_nor_what_goes_on_takes_the_others_place(opened: Open) -> None:
    async with opened(size_bytes=200_000) as model:
        await take(model, Source.RUNS, *waiting(*(f"w:on{n}" for n in range(300))))
        records = [result(f"w:{n:03}", finished=n, offset=n, result="x" * 10_000) for n in range(100)]
        await take(model, Source.RESULTS, *records)
        await model._write(model.trim)
        assert 200_000 < model._trimming.used_bytes() <= 200_000 + 300 * GOING_ON_BYTES
        assert len(await listed(model, status="waiting", limit=500)) == 300
        assert len((await model.run("w:on0"))[1]) == 2
        assert 5 < len(await listed(model, status="completed", limit=500)) < 60


async def test_runs_that_go_on_are_bounded_in_bytes_as_well(opened: Open) -> None:
    async with opened(size_bytes=400_000) as model:
        await take(model, Source.RESULTS, result("w:over"))
        runs = [f"w:{n:02}" for n in range(80)]
        await take(model, Source.RUNS, *waiting(*runs, data="x" * 20_000))
        await model._write(model.trim)
        assert model._trimming.used_bytes() <= 400_000 + 80 * GOING_ON_BYTES
        assert 5 < len(await listed(model, limit=500)) < 40


async def test_facts_of_runs_that_ended_while_it_was_away_go_after_a_restart(opened: Open) -> None:
    async with opened(runs=2) as model:
        await take(model, Source.RUNS, *waiting("w:1", "w:2"))
        await model._write(model.trim)
    async with opened(runs=2) as model:
        await take(model, Source.RESULTS, *(result(f"w:{n}", finished=n, offset=n) for n in range(1, 5)))
        await model._write(model.trim)
        assert model._writing.execute("SELECT count(*) FROM fact").fetchone() == (0,)


async def test_the_file_is_bounded_in_bytes(opened: Open) -> None:
    async with opened(size_bytes=400_000) as model:
        records = [result(f"w:{n:03}", finished=n, offset=n, result="x" * 10_000) for n in range(100)]
        await take(model, Source.RESULTS, *records)
        await model._write(model.trim)
        kept = await listed(model, limit=500)
        assert model._trimming.used_bytes() <= 400_000
        assert 5 < len(kept) < 40
        assert kept[0] == "w:099"

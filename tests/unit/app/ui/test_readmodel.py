"""The read model: what it takes of what it reads, and what it answers."""

from typing import Any

import orjson
import pytest

from app.ui.readmodel import Source
from tests.unit.app.ui.records import Open, Record, State, at, fact, listed, result, take
from topics.told import Listener

# ---- runs ------------------------------------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first_and_without_their_results(opened: Open) -> None:
    async with opened() as model:
        error = {"type": "ValueError", "message": "no", "traceback": "long"}
        await take(
            model,
            Source.RESULTS,
            result("w:1", finished=1),
            result("w:2", finished=3, offset=1, status="failed", error=error, key="k", attempts=4),
            result("v:3", finished=2, partition=1),
        )
        found, following = await model.runs()
        assert ([one["run_id"] for one in found], following) == (["w:2", "v:3", "w:1"], None)
        assert found[0] == {
            "run_id": "w:2",
            "workflow_id": "w",
            "workflow_version": "1",
            "status": "failed",
            "key": "k",
            "started_at": at(3),
            "finished_at": at(3),
            "attempts": 4,
            "error": {"type": "ValueError", "message": "no"},
        }


async def test_filters_and_pages_go_together(opened: Open) -> None:
    async with opened() as model:
        records = [result(f"w:{n}", finished=n % 3, offset=n, key=f"k{n % 2}") for n in range(20)]
        await take(model, Source.RESULTS, *records, result("v:0", offset=20, key="k0"))
        wanted, cursor = [], None
        while True:
            page, cursor = await model.runs(workflow="w", key="k0", status="completed", limit=3, cursor=cursor)
            wanted += [one["run_id"] for one in page]
            if cursor is None:
                break
        assert len(wanted) == len(set(wanted)) == 10
        assert wanted == sorted(wanted, key=lambda one: (int(one[2:]) % 3, one), reverse=True)
        assert await listed(model, status="failed") == []


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bnVsbA", "WzEsMl0", "e30", "\N{SNOWMAN}"])
async def test_a_cursor_of_others_is_an_error(opened: Open, cursor: str) -> None:
    async with opened() as model:
        with pytest.raises(ValueError):  # noqa: PT011 - every kind of wrong cursor has its own message
            await model.runs(cursor=cursor)


async def test_one_run_is_the_record_of_its_result(opened: Open) -> None:
    async with opened() as model:
        given = result("w:1", result={"text": "\N{SNOWMAN}", "big": 12345678901234567890, "float": 0.1})
        await take(model, Source.RESULTS, given)
        record, facts = await model.run("w:1")
        assert (orjson.loads(record), facts) == (orjson.loads(given.value or b""), [])
        assert await model.run("w:2") is None


async def test_a_run_that_goes_on_shows_what_its_facts_say(opened: Open) -> None:
    async with opened() as model:
        await take(
            model,
            Source.RUNS,
            fact("run_started", "w:1", when=1, offset=0, key="k", workflow_version="7"),
            fact("run_retried", "w:1", when=2, offset=1, attempt=1, error={"type": "E", "message": "m"}),
        )
        record, facts = await model.run("w:1")
        assert orjson.loads(record) == {
            "run_id": "w:1",
            "workflow_id": "w",
            "workflow_version": "7",
            "status": "retrying",
            "key": "k",
            "started_at": at(1),
            "finished_at": None,
            "attempts": 1,
            "error": {"type": "E", "message": "m"},
        }
        assert [orjson.loads(one)["fact"] for one in facts] == ["run_started", "run_retried"]


def step(name: str, key: str, run_id: str = "w:1", **fields: Any) -> Any:
    return ("step_" + name, run_id, {"step": key} | fields)


STARTED: Any = ("run_started", "w:1", {})
STUCK: Any = ("run_stuck", "w:1", {})
RESUMED: Any = ("run_resumed", "w:1", {})
AGAIN: Any = ("run_retried", "w:1", {})


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([STARTED, step("waiting", "w")], "waiting"),
        ([step("waiting", "w"), STARTED], "waiting"),
        ([STARTED, step("waiting", "w"), step("finished", "w")], "running"),
        ([STARTED, step("waiting", "w"), step("waiting", "v"), step("finished", "w")], "waiting"),
        ([STARTED, step("waiting", "w"), step("retried", "c")], "retrying"),
        ([STARTED, step("retried", "c"), step("finished", "c")], "running"),
        ([STARTED, step("waiting", "w"), step("started", "c")], "running"),
        ([STARTED, step("waiting", "w"), step("started", "c"), step("finished", "c")], "waiting"),
        ([STARTED, step("retried", "c"), step("started", "c")], "running"),
        ([STARTED, step("started", "c"), AGAIN, step("waiting", "w")], "waiting"),
        ([STARTED, AGAIN, step("started", "c"), step("waiting", "w")], "running"),
        ([STARTED, step("started", "c"), STUCK, RESUMED, step("waiting", "w")], "waiting"),
        ([STARTED, step("waiting", "w"), AGAIN], "retrying"),
        ([STARTED, AGAIN, step("waiting", "w")], "waiting"),
        ([STARTED, step("waiting", "w"), STUCK, step("finished", "w")], "stuck"),
        ([STARTED, step("waiting", "w"), STUCK, RESUMED], "waiting"),
        ([STARTED, step("waiting", "w"), ("run_finished", "w:1", {"status": "failed"})], "failed"),
        ([STARTED, step("waiting", "w", "w:2"), step("painted", "w")], "running"),
    ],
)
async def test_a_run_is_listed_by_what_its_steps_do(opened: Open, told: list[Any], status: str, *, apart: bool) -> None:
    async with opened() as model:
        records = [fact(name, run, when=n, offset=n, **more) for n, (name, run, more) in enumerate(told)]
        for batch in [[one] for one in records] if apart else [records]:
            await take(model, Source.RUNS, *batch)
        found, _ = await model.runs()
        assert [one["status"] for one in found if one["run_id"] == "w:1"] == [status]
        assert await listed(model, status=status) == ["w:1"]
        listener = Listener()
        for one in records:
            record = orjson.loads(one.value or b"")
            if record["run_id"] == "w:1":
                listener.hear(record)
        assert listener.status == status


async def test_steps_of_runs_that_are_over_are_forgotten(opened: Open) -> None:
    async with opened() as model:
        facts = [fact("run_started", "w:1", when=0), fact("step_waiting", "w:1", when=1, offset=1, step="a")]
        await take(model, Source.RUNS, *facts, fact("step_waiting", "w:2", when=1, offset=2, step="a"))
        await take(model, Source.RESULTS, result("w:2", finished=2))
        model.trim()
        assert model._writing.execute("SELECT run_id, key, state FROM step").fetchall() == [("w:1", "a", "waiting")]


@pytest.mark.parametrize("result_first", [True, False])
async def test_the_result_wins_over_facts_in_whatever_order_they_come(opened: Open, *, result_first: bool) -> None:
    async with opened() as model:
        batches = [
            (Source.RESULTS, [result("w:1", finished=5)]),
            (
                Source.RUNS,
                [fact("run_started", "w:1", when=1), fact("run_finished", "w:1", when=5, offset=1, status="x")],
            ),
        ]
        for source, records in batches if result_first else reversed(batches):
            await take(model, source, *records)
        found, _ = await model.runs()
        assert [(one["run_id"], one["status"], one["finished_at"]) for one in found] == [("w:1", "completed", at(5))]
        _, facts = await model.run("w:1")
        assert len(facts) == 2


async def test_the_same_records_twice_change_nothing(opened: Open) -> None:
    async with opened() as model:
        letter = Record(orjson.dumps({"code": "not_json", "at": at(1)}))
        for _ in range(2):
            await take(model, Source.RESULTS, result("w:1"))
            await take(model, Source.RUNS, fact("run_started", "w:2", when=1))
            await take(model, Source.DEAD_LETTERS, letter)
        assert sorted(await listed(model)) == ["w:1", "w:2"]
        assert await model.dead_letters() == [letter.value]
        assert len((await model.run("w:2"))[1]) == 1


async def test_dead_letters_are_kept_as_they_are_newest_first(opened: Open) -> None:
    async with opened() as model:
        letters = [Record(orjson.dumps({"code": "c", "at": at(n), "n": n}), offset=n) for n in range(3)]
        await take(model, Source.DEAD_LETTERS, *letters)
        assert await model.dead_letters(limit=2) == [letters[2].value, letters[1].value]


# ---- records that nobody expects -------------------------------------------------------------------------------------


HOSTILE = [
    None,
    b"",
    b"nonsense",
    b"{",
    b"\xff",
    b"[]",
    b"null",
    b"{}",
    b'{"run_id":1,"finished_at":"x"}',
    b'{"run_id":"w:x"}',
    b'{"run_id":"w:x","finished_at":7}',
    b'{"a":1}],[0,1,{"run_id":"w:injected","finished_at":"2026"}',
    b"[" * 3000 + b"]" * 3000,
    b"[" * 1999 + b"]" * 1999,
    b'{"a":1}\x00',
    b'{"run_id":"w:x","fact":"run_started","code":"c","at":"2026","finished_at":"2026","result":1e999}',
    b'{"run_id":"w:x","fact":"run_started","code":"c","at":"2026","finished_at":"2026","result":"\\ud800"}',
    b'{"run_id":"w:x","fact":"run_started","code":"c","at":"2026","finished_at":"2026","result":%b}'
    % (b"[" * 250 + b"]" * 250),
]


@pytest.mark.parametrize("source", list(Source))
async def test_what_is_no_record_is_passed_over_and_those_beside_it_are_kept(opened: Open, source: Source) -> None:
    good = {
        Source.RESULTS: result("w:good", offset=100),
        Source.RUNS: fact("run_started", "w:good", when=1, offset=100),
        Source.DEAD_LETTERS: Record(orjson.dumps({"code": "c", "at": at(1), "run_id": "w:good"}), 100),
    }[source]
    async with opened() as model:
        for n, value in enumerate(HOSTILE):  # alone, and all together
            await take(model, source, Record(value, n))
        await take(model, source, *(Record(value, n) for n, value in enumerate(HOSTILE)), good)
        if source is Source.DEAD_LETTERS:
            assert await model.dead_letters() == [good.value]
        else:
            assert await listed(model) == ["w:good"]
        assert await model.attach_to(source)(State()) == {0: 101}


async def test_data_that_nests_as_deep_as_an_event_may_is_kept(opened: Open) -> None:
    deep = orjson.loads(b"[" * 200 + b"]" * 200)
    async with opened() as model:
        await take(model, Source.RESULTS, result("w:1", result=deep))
        assert await listed(model) == ["w:1"]

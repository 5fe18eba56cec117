"""The read model: what it keeps, what it answers, and when it begins again."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from app.ui import file, readmodel, schema
from app.ui.bounds import GOING_ON_BYTES, Bounds
from app.ui.file import ReadModelInUse
from app.ui.readmodel import ReadModel, Source
from topics.told import Listener

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    value: bytes | None
    offset: int = 0
    partition: int = 0


@dataclass(frozen=True)
class Identity:
    cluster_id: str = "cluster"
    topic_id: str = "topic"


@dataclass(frozen=True)
class State:
    identity: Identity | None = field(default_factory=Identity)
    end: Mapping[int, int] = field(default_factory=lambda: {0: 1_000, 1: 1_000})


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


Open = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(
        path: Path | None = None, *, gather_seconds: float = 0.0, **bounds: Any
    ) -> AsyncIterator[ReadModel]:
        model = ReadModel(
            path or tmp_path / "readmodel.sqlite",
            bounds=Bounds(**bounds),
            now=lambda: NOW,
            gather_seconds=gather_seconds,
        )
        try:
            yield model
        finally:
            await model.close()

    return opened


def at(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def result(run_id: str, *, finished: int = 0, offset: int = 0, partition: int = 0, **fields: Any) -> Record:
    record = {
        "run_id": run_id,
        "workflow_id": run_id.partition(":")[0],
        "workflow_version": "1",
        "status": "completed",
        "result": {"n": 1},
        "error": None,
        "events": [{"id": "e", "topic": "t", "partition": 0, "offset": 0}],
        "key": None,
        "started_at": at(finished),
        "finished_at": at(finished),
        "attempts": 1,
    } | fields
    return Record(orjson.dumps(record), offset, partition)


def fact(name: str, run_id: str, *, when: int, offset: int = 0, **fields: Any) -> Record:
    record = {"fact": name, "run_id": run_id, "workflow_id": "w", "at": at(when)} | fields
    return Record(orjson.dumps(record), offset)


async def take(model: ReadModel, source: Source, *records: Record) -> None:
    await model.take_from(source)(records)


async def listed(model: ReadModel, **asked: Any) -> list[str]:
    found, _ = await model.runs(**asked)
    return [run["run_id"] for run in found]


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


# ---- offsets, restart, rebuild ---------------------------------------------------------------------------------------


async def test_a_restart_goes_on_after_what_was_read(opened: Open) -> None:
    async with opened() as model:
        assert await model.attach_to(Source.RESULTS)(State()) == {}
        await take(model, Source.RESULTS, result("w:1", offset=7), result("w:2", offset=3, partition=1))
    async with opened() as model:
        assert await model.attach_to(Source.RESULTS)(State()) == {0: 8, 1: 4}
        assert await model.attach_to(Source.RUNS)(State()) == {}
        assert sorted(await listed(model)) == ["w:1", "w:2"]


@pytest.mark.parametrize(
    "state",
    [State(Identity(topic_id="other")), State(Identity(cluster_id="other")), State(end={0: 3}), State(end={1: 9})],
)
async def test_another_topic_or_a_shorter_one_is_read_from_the_beginning(opened: Open, state: State) -> None:
    async with opened() as model:
        await model.attach_to(Source.RESULTS)(State())
        await model.attach_to(Source.RUNS)(State())
        await take(model, Source.RESULTS, result("w:1", offset=7))
        await take(model, Source.RUNS, fact("run_started", "w:2", when=1))
        assert await model.attach_to(Source.RESULTS)(state) == {}
        assert await listed(model) == ["w:2"]
        assert await model.attach_to(Source.RUNS)(State()) == {0: 1}


async def test_what_fails_in_the_middle_leaves_neither_rows_nor_offsets(opened: Open) -> None:
    async with opened() as model:
        model._writing.execute("CREATE TEMP TRIGGER no BEFORE INSERT ON position BEGIN SELECT RAISE(FAIL, 'no'); END")
        with pytest.raises(sqlite3.IntegrityError, match="no"):
            await take(model, Source.RESULTS, result("w:1", offset=7))
        assert (await listed(model), await model.attach_to(Source.RESULTS)(State(None))) == ([], {})


@pytest.mark.parametrize("broken", [b"no database", b"", None])
async def test_a_file_that_cannot_be_read_is_made_anew(opened: Open, tmp_path: Path, broken: bytes | None) -> None:
    path = tmp_path / "readmodel.sqlite"
    if broken is None:
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        db.close()
    else:
        path.write_bytes(broken)
    async with opened() as model:
        await take(model, Source.RESULTS, result("w:1"))
        assert await listed(model) == ["w:1"]


async def test_two_processes_cannot_have_one_file(opened: Open, tmp_path: Path) -> None:
    async with opened():
        with pytest.raises(ReadModelInUse, match=r"gateway\.read_model"):
            ReadModel(tmp_path / "readmodel.sqlite")
    async with opened() as model:
        assert await listed(model) == []


async def test_a_temporary_file_is_gone_after_closing() -> None:
    model = ReadModel(None)
    assert model.path.exists()
    await model.close()
    assert not model.path.parent.exists()


# ---- bounds ----------------------------------------------------------------------------------------------------------


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


def waiting(*run_ids: str, offset: int = 0, **fields: Any) -> list[Record]:
    """Return the facts of runs that began and wait for a decision."""
    return [
        one
        for n, run_id in enumerate(run_ids)
        for one in (
            fact("run_started", run_id, when=-200, offset=offset + 2 * n),
            fact("step_waiting", run_id, when=-200, offset=offset + 2 * n + 1, step="a", **fields),
        )
    ]


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


# ---- how old it is ---------------------------------------------------------------------------------------------------


async def test_the_file_stays_within_twice_its_bound_while_large_records_come(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOG_BYTES", 1_000_000)
    async with opened(size_bytes=4_000_000) as model:
        for n in range(100):
            await take(model, Source.RESULTS, result(f"w:{n:03}", finished=n, offset=n, result="x" * 400_000))
            sizes = [path.stat().st_size for path in model.path.parent.iterdir()]
            assert sum(sizes) < 2 * 4_000_000 + 5_000_000  # what SQLite's log may hold before it begins anew
        assert "w:099" in await listed(model)


# ---- what was told already -------------------------------------------------------------------------------------------


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

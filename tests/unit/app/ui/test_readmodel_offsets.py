"""Where the read model goes on reading, and when it begins again."""

import sqlite3

import pytest

from app.ui.readmodel import Source
from tests.unit.app.ui.records import Identity, Open, State, fact, listed, result, take


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

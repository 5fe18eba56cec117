"""Tables of SQLite, in files of the test."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from connectors import poll
from connectors.base.contract import NotConnected, Received, Refused
from connectors.poll import sqlite
from tests.unit.connectors.poll.api import Scripted, ids, polled
from tests.unit.connectors.standing import Reading, StandIn


class Shop:
    """A database of the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = sqlite3.connect(path, isolation_level=None)
        self.run("CREATE TABLE orders (n INTEGER, id TEXT, at TEXT, data BLOB)")

    def run(self, text: str, *values: Any) -> None:
        self._connection.execute(text, values)

    def add(self, n: Any, name: str) -> None:
        self.run("INSERT INTO orders VALUES (?, ?, ?, ?)", n, name, f"2026-06-01 00:00:{n:02}", b"\x01")

    def close(self) -> None:
        self._connection.close()

    def config(self, **more: Any) -> poll.Config:
        own = {name: more.pop(name) for name in ("existing", "max_pages") if name in more}
        sql = {"database": f"sqlite://{quote(str(self.path))}", "table": "orders", "column": "n", "id": "id", **more}
        return poll.Config.model_validate({"interval": 60, "sql": sql, **own})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path / "shop ?.db")
    yield made
    made.close()


async def test_rows_are_events_once(shop: Shop) -> None:
    shop.add(1, "a")
    site = Scripted(lambda: shop.add(2, "b"), lambda: None)
    items, _ = await polled(shop.config(), site)

    first = items[0]
    assert isinstance(first, Received)
    assert ("a@1", "a", {"n": 1, "id": "a", "at": "2026-06-01 00:00:01", "data": "AQ=="}) == (
        first.id,
        first.key,
        first.data,
    )
    assert ["a@1", "b@2"] == ids(items)
    assert (1, 1 + 2 + 2) == (site.connections, site.heard_bytes)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("column", ["n", "at"])
async def test_equal_values_at_a_page_boundary_are_all_told_once(shop: Shop, limit: int, column: str) -> None:
    for number in range(20):
        shop.add(number // 5, f"{number:02}")
    site = Scripted(lambda: shop.add(3, "late"), lambda: None)
    items, _ = await polled(shop.config(limit=limit, column=column), site)

    keys = [one.key for one in items if isinstance(one, Received)]
    assert sorted([*(f"{number:02}" for number in range(20)), "late"]) == sorted(map(str, keys))


async def test_a_row_that_came_late_is_told_within_the_overlap(shop: Shop) -> None:
    shop.add(1, "a")
    shop.add(200, "b")
    site = Scripted(lambda: [shop.add(n, name) for n, name in ((150, "late"), (50, "too late"))])  # type: ignore[func-returns-value]
    items, _ = await polled(shop.config(), site)

    assert ["a@1", "b@200", "late@150"] == ids(items)


async def test_a_poll_goes_on_after_its_last_page(shop: Shop) -> None:
    for number in range(5):
        shop.add(number, f"{number}")
    site = Scripted(lambda: None, lambda: None)
    items, _ = await polled(shop.config(limit=2, max_pages=1), site)

    assert [f"{number}@{number}" for number in range(5)] == ids(items)
    assert 2 == site.notes["capped"]


async def test_what_exists_can_be_skipped_without_reading_it(shop: Shop) -> None:
    shop.add(1, "a")
    shop.add(2, "b")
    site = Scripted(lambda: shop.add(3, "c"))
    items, _ = await polled(shop.config(existing="skip"), site)

    assert ["c@3"] == ids(items)
    assert 1 + 3 == site.heard_bytes


async def test_an_empty_table_can_be_skipped_as_well(shop: Shop) -> None:
    items, _ = await polled(shop.config(existing="skip"), Scripted(lambda: shop.add(3, "c")))

    assert ["c@3"] == ids(items)


async def test_names_of_tables_and_columns_are_only_names(shop: Shop) -> None:
    shop.run('CREATE TABLE "x""; DROP TABLE orders; --" ("a b" INTEGER, "c"" OR 1=1" TEXT)')
    shop.run('INSERT INTO "x""; DROP TABLE orders; --" VALUES (1, ?)', "one")
    config = shop.config(table='x"; DROP TABLE orders; --', column="a b", id='c" OR 1=1')
    items, _ = await polled(config, Scripted())

    assert ["one@1"] == ids(items)
    shop.add(1, "still there")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"table": "nothing"}, "table"),
        ({"column": "nothing"}, "column"),
        ({"id": "nothing"}, "column"),
        ({"column": "data"}, "column"),
        ({"id": None, "column": "at"}, "column"),
    ],
)
async def test_what_is_not_there_or_does_not_fit_is_refused(shop: Shop, more: dict[str, Any], reason: str) -> None:
    shop.add(1, "a")
    shop.add(1, "b")
    _, end = await polled(shop.config(**more), Scripted())

    assert isinstance(end, Refused)
    assert reason == end.reason


async def test_a_view_is_read_as_well(shop: Shop) -> None:
    shop.run("CREATE VIEW large AS SELECT * FROM orders WHERE n > 1")
    shop.add(1, "a")
    shop.add(2, "b")
    items, _ = await polled(shop.config(table="large"), Scripted())

    assert ["b@2"] == ids(items)


async def test_a_text_that_is_no_utf8_is_read_all_the_same(shop: Shop) -> None:
    shop.run("INSERT INTO orders VALUES (1, 'a', CAST(X'ff' AS TEXT), NULL)")
    items, _ = await polled(shop.config(), Scripted())

    assert isinstance(items[0], Received)
    assert "\ufffd" == items[0].data["at"]


# ---- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"root:x:0:0:s3cret\n", b"SQLite format 2\0" + b"x" * 100])
async def test_what_is_no_database_is_refused_and_nothing_of_it_shown(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x"
    if content is not None:
        path.write_bytes(content)
    sql = {"database": f"sqlite://{path}", "table": "t", "column": "c"}
    _, end = await polled(poll.Config.model_validate({"sql": sql}), Scripted())

    assert isinstance(end, Refused)
    assert "no_file" == end.reason
    assert "s3cret" not in str(end)


async def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000)
    sql = {"database": f"sqlite://{path}", "table": "t", "column": "c"}
    _, end = await polled(poll.Config.model_validate({"sql": sql}), Scripted())

    assert isinstance(end, Refused)
    assert "database" == end.reason


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    sql = {"database": f"sqlite://{tmp_path}", "table": "t", "column": "c"}
    _, end = await polled(poll.Config.model_validate({"sql": sql}), Scripted())

    assert isinstance(end, Refused)
    assert "no_file" == end.reason


def test_nothing_can_be_written(shop: Shop) -> None:
    options = shop.config().sql
    assert options is not None
    reading = sqlite._Reading(str(shop.path), options, StandIn())

    with pytest.raises(NotConnected, match="readonly"):
        reading.rows("INSERT INTO orders VALUES (1, 'a', 'b', 'c')", [])


async def test_a_database_that_is_locked_is_tried_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    shop.run("BEGIN EXCLUSIVE")
    _, end = await polled(shop.config(), Scripted())
    assert isinstance(end, NotConnected)
    assert "locked" == end.reason

    shop.run("COMMIT")
    _, end = await polled(shop.config(), Scripted())
    assert "the script is over" == str(end)


SLOW = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n, 'x' AS id FROM c WHERE n < 0"


async def test_a_query_that_takes_too_long_is_ended(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "QUERY_SECONDS", 0.02)
    shop.run(f"CREATE VIEW slow AS {SLOW}")
    _, end = await polled(shop.config(table="slow"), Scripted(real_time=True))

    assert isinstance(end, NotConnected)
    assert "timeout" == end.reason


async def test_a_query_of_a_source_that_stops_is_ended(shop: Shop) -> None:
    shop.run(f"CREATE VIEW slow AS {SLOW}")
    began, ended = threading.Event(), threading.Event()

    class Watching(Scripted):
        async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
            def watched() -> Any:
                began.set()
                try:
                    return call(*arguments)
                finally:
                    ended.set()

            return await asyncio.to_thread(watched)

    reading = asyncio.create_task(polled(shop.config(table="slow"), Watching()))
    await asyncio.to_thread(began.wait, 10)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert await asyncio.to_thread(ended.wait, 10)


async def test_a_database_that_sources_may_not_read_is_refused(shop: Shop) -> None:
    site = StandIn()
    site.forbidden.add(str(shop.path))
    shop.add(1, "a")

    end = await Reading(poll.Source(shop.config(), site), site).to_its_end()

    assert isinstance(end, Refused)
    assert end.reason == "forbidden_path"

"""Queries, values and rows that PostgreSQL and SQLite have in common."""

import json
import sqlite3
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import Refused
from connectors.poll import sql, times
from connectors.poll.config import Config, Sql
from connectors.poll.progress import Progress

WHEN = datetime(2026, 6, 1, 12, tzinfo=UTC)


def options(**more: Any) -> Sql:
    return Sql.model_validate({"database": "sqlite:///x", "table": "orders", "column": "n", **more})


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_quoted_name_is_one_name_whatever_is_in_it(name: str) -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE {sql.quoted(name)} (x)")

    assert [(name,)] == connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()


@pytest.mark.parametrize(
    ("given", "query"),
    [
        (
            {"tie": None, "since": None, "after": []},
            'SELECT * FROM "t" WHERE "n" IS NOT NULL ORDER BY "n" LIMIT 500',
        ),
        (
            {"tie": '"id"', "since": "?", "after": []},
            'SELECT * FROM "t" WHERE "n" IS NOT NULL AND "n" >= ? ORDER BY "n", "id" LIMIT 500',
        ),
        (
            {"tie": '"id"', "since": "?", "after": ["?", "?"]},
            'SELECT * FROM "t" WHERE "n" IS NOT NULL AND ("n", "id") > (?, ?) ORDER BY "n", "id" LIMIT 500',
        ),
    ],
)
def test_a_page_begins_at_the_cursor_or_after_the_last_row(given: dict[str, Any], query: str) -> None:
    assert query == sql.query('"t"', options(), column='"n"', **given)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (7, 7),
        (7.0, 7),
        (Decimal(70), 70),
        ("01H", "01H"),
        (WHEN, times.micros(WHEN)),
        (WHEN.replace(tzinfo=None), times.micros(WHEN)),
        (date(2026, 6, 1), times.micros(WHEN) - 12 * 3_600_000_000),
        (UUID(int=5), str(UUID(int=5))),
    ],
)
def test_a_value_of_the_cursor_is_a_number_or_a_text(found: Any, value: Any) -> None:
    assert value == sql.value_of(found, options())


@pytest.mark.parametrize(
    "found", [True, 1.5, Decimal("0.1"), 2**63, Decimal(10) ** 20, 1e20, b"x", None, [], float("inf"), float("nan")]
)
def test_a_column_that_orders_nothing_is_refused(found: Any) -> None:
    with pytest.raises(Refused, match="the column n of orders has") as caught:
        sql.value_of(found, options())

    assert "column" == caught.value.reason


@pytest.mark.parametrize(
    ("found", "shown"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (1.5, 1.5),
        (float("inf"), "inf"),
        ("x", "x"),
        (b"\x00\xff", "AP8="),
        (memoryview(b"a"), "YQ=="),
        (Decimal("12.50"), "12.50"),
        (WHEN, "2026-06-01T12:00:00Z"),
        (WHEN.replace(tzinfo=None), "2026-06-01T12:00:00"),
        (WHEN.astimezone(timezone(timedelta(hours=2))), "2026-06-01T14:00:00+02:00"),
        (date(2026, 6, 1), "2026-06-01"),
        (time(1, 2), "01:02:00"),
        (timedelta(hours=1), 3600.0),
        (UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (IPv4Address("10.0.0.1"), "10.0.0.1"),
        ([1, (Decimal(2), None)], [1, ["2", None]]),
        ({"a": b"a", 1: 2}, {"a": "YQ==", "1": 2}),
    ],
)
def test_a_value_of_a_row_is_json(found: Any, shown: Any) -> None:
    assert shown == sql.jsonable(found)
    json.dumps(sql.jsonable(found), allow_nan=False)


def test_a_row_is_a_record_with_its_id_and_version() -> None:
    rows = [{"n": 5, "id": 1}, {"n": 5, "id": 2}]

    assert [("1@5", "1", 5), ("2@5", "2", 5)] == [
        (one.event_id, one.key, one.value) for one in sql.records(rows, options(id="id"), is_time=False)
    ]
    assert [("5", "5")] == [(one.event_id, one.key) for one in sql.records(rows[:1], options(), is_time=False)]
    timed = sql.records([{"n": WHEN, "id": 1}], options(id="id"), is_time=True)
    assert "1@2026-06-01T12:00:00Z" == timed[0].event_id


def test_a_column_that_is_not_unique_needs_an_id() -> None:
    with pytest.raises(Refused, match="has the value 5 twice; name a unique column as `id`"):
        sql.records([{"n": 5}, {"n": 5}], options(), is_time=False)


def test_a_row_without_an_id_is_unreadable() -> None:
    assert "its id is null" == sql.records([{"n": 5, "id": None}], options(id="id"), is_time=False)[0].problem


def test_a_full_page_leads_to_the_next_one() -> None:
    rows = [{"n": 5, "id": "a"}, {"n": 6, "id": "b"}]
    limited, unique = options(id="id", limit=2), options(limit=2)

    assert {"after": [6, "b"]} == sql.after(rows, sql.records(rows, limited, is_time=False), limited)
    assert {"after": [6]} == sql.after(rows, sql.records(rows, unique, is_time=False), unique)
    assert sql.after(rows[:1], sql.records(rows[:1], limited, is_time=False), limited) is None


@pytest.mark.parametrize("tie", [b"x", 1.5])
def test_an_id_that_is_no_number_or_text_is_refused(tie: Any) -> None:
    rows, limited = [{"n": 5, "id": tie}], options(id="id", limit=1)

    with pytest.raises(Refused, match="the column id of orders has"):
        sql.after(rows, sql.records(rows, limited, is_time=False), limited)


def test_a_page_of_other_options_fits_not() -> None:
    assert sql.fits({"after": [1]}, options())
    assert sql.fits({"after": [1, 2]}, options(id="id"))
    assert not sql.fits({"after": [1, 2]}, options())
    assert not sql.fits({"page": 2}, options())
    assert not sql.fits(None, options())


@pytest.mark.parametrize(
    ("given", "kinds", "overlap"),
    [
        (None, {"is_time": True, "is_text": False}, 60_000_000),
        (None, {"is_time": False, "is_text": False}, 100),
        (None, {"is_time": False, "is_text": True}, 0),
        (1.5, {"is_time": True, "is_text": False}, 1_500_000),
        (7, {"is_time": False, "is_text": False}, 7),
        (0, {"is_time": True, "is_text": False}, 0),
    ],
)
def test_the_overlap_is_in_the_unit_of_the_column(given: Any, kinds: dict[str, bool], overlap: int) -> None:
    assert overlap == sql.overlap(options(overlap=given), **kinds)


def test_what_is_skipped_is_never_new() -> None:
    skipped = sql.skipped(Progress(tag="t"), 7)

    assert (7, 7, False) == (skipped.cursor, skipped.floor, skipped.is_first)


def test_the_position_is_that_of_one_column_of_one_table() -> None:
    config = Config.model_validate({"sql": {"database": "sqlite:///x", "table": "orders", "column": "n"}})

    assert sql.policy(config, options()).tag != sql.policy(config, options(column="m")).tag
    assert sql.policy(config, options()).tag != sql.policy(config, options(table="others")).tag
    assert sql.policy(config, options()).tag == sql.policy(config, options(id="id", limit=7)).tag

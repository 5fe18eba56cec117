"""The tables and the statements that fill them."""

import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from app.ui import schema

STATEMENTS = [
    schema.TAKE_RESULTS,
    schema.TAKE_FACTS,
    schema.TAKE_RUNS_OF_FACTS,
    schema.TAKE_RUNS_OF_STEPS,
    schema.TAKE_DEAD_LETTERS,
]


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:")
    db.executescript(schema.TABLES)
    yield db
    db.close()


@pytest.mark.parametrize("statement", STATEMENTS)
@pytest.mark.parametrize("batch", ["[]", "[[0,0,{}]]", "[[0,0,null]]", "[[0,0,7]]", '[[0,0,{"run_id":{},"at":[]}]]'])
def test_what_has_no_text_where_one_is_needed_is_passed_over(
    db: sqlite3.Connection, statement: str, batch: str
) -> None:
    assert db.execute(statement, (batch,)).rowcount in (0, -1)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "WHERE workflow_id = 'w'",
        "WHERE status = 's'",
        "WHERE event_key = 'k'",
        "WHERE workflow_id = 'w' AND status = 's'",
    ],
)
def test_no_list_of_runs_reads_the_whole_table(db: sqlite3.Connection, where: str) -> None:
    plan = db.execute(f"EXPLAIN QUERY PLAN {schema.SUMMARY} {where} ORDER BY at DESC, run_id DESC LIMIT 50").fetchall()
    details = [row[3] for row in plan]
    assert all("INDEX" in detail for detail in details), details
    assert not any("TEMP B-TREE" in detail for detail in details), details


@pytest.mark.parametrize(
    ("statement", "given"),
    [
        (schema.COUNT_GOING_ON, ()),
        (schema.COUNT_OVER, ()),
        (schema.DROP_OLDER, ("2026",)),
        (schema.DROP_SILENT, ("2026",)),
        (schema.DROP_OVER, (1,)),
        (schema.DROP_OLDEST_OVER, (1,)),
        (schema.DROP_OLDEST_GOING_ON, (1,)),
        (schema.DROP_FACTS, (1, 2)),
        (schema.TALKATIVE, (1, 2)),
        (schema.DROP_FACTS_OF_RUN, {"run_id": "w:1", "most": 1}),
    ],
)
def test_nothing_is_dropped_by_a_look_at_all_runs_or_all_facts(
    db: sqlite3.Connection, statement: str, given: Any
) -> None:
    plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()]
    assert not [one for one in plan if one.startswith("SCAN") and " INDEX run_" not in one and one != "SCAN told"], plan
    assert not any("TEMP B-TREE FOR ORDER" in one for one in plan), plan

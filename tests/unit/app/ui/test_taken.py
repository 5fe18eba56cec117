from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from app.ui.taken import array_of, lasting, understood


@dataclass(frozen=True)
class Record:
    value: bytes | None
    partition: int = 1
    offset: int = 2


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("value", [b"{}", b"5", orjson.dumps("ü"), nested(240)])
def test_json_that_answers_can_hold_is_understood(value: bytes) -> None:
    assert [record.value for record, _ in understood([Record(value)])] == [value]


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b'{"a":1}\x00', b"1e999", b'"\\ud800"', b"\xff", b"1],[2", nested(250), nested(1999)]
)
def test_what_only_sqlite_would_take_is_not(value: bytes | None) -> None:
    assert understood([Record(value)]) == []


def test_records_become_one_array_of_place_and_value() -> None:
    assert orjson.loads(array_of([Record(b'{"a":1}'), Record(b"5", 0, 7)])) == [[1, 2, {"a": 1}], [0, 7, 5]]


def told(*facts: Any) -> list[Any]:
    """What is left of these facts."""
    left = lasting(understood([Record(orjson.dumps(fact)) for fact in facts]))
    return [orjson.loads(record.value or b"") for record in left]


def fact(name: str, run_id: str) -> dict[str, str]:
    return {"fact": name, "run_id": run_id}


def test_of_runs_that_begin_and_end_together_nothing_more_is_to_be_known() -> None:
    lasts = [fact("run_started", "w:2"), fact("step_finished", "w:3"), fact("run_finished", "w:3")]
    brief = [fact("run_started", "w:1"), fact("step_waiting", "w:1"), fact("run_finished", "w:1")]
    assert told(brief[0], *lasts, *brief[1:]) == lasts


def test_a_run_that_goes_on_after_its_end_lasts() -> None:
    facts = [fact("run_started", "w:1"), fact("run_finished", "w:1"), fact("run_retried", "w:1")]
    assert told(*facts) == facts


def test_what_is_no_fact_is_left_to_sqlite() -> None:
    odd = [1, [], "x", {}, {"fact": "run_started"}, {"fact": "run_finished"}, {"fact": [], "run_id": []}]
    assert told(*odd[:4], odd[6]) == [*odd[:4], odd[6]]

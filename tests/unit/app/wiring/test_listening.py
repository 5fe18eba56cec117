from typing import Any

import pytest

from app.wiring import listening

KNOWN: list[dict[str, Any]] = [
    {"id": "a", "triggers": ["people/*", "people/joined"]},
    {"id": "b", "triggers": ["order.created", 7, "a*"]},
    {"id": "old", "triggers": ["gone"], "retired_at": "then"},
    {"id": "odd", "triggers": None},
]


def test_what_is_retired_or_cannot_be_read_listens_to_nothing() -> None:
    assert [one.text for one in listening.patterns(KNOWN)] == ["people/*", "people/joined", "order.created"]


@pytest.mark.parametrize(
    ("sources", "topic"),
    [
        (['@workflow(trigger_on_event="order.created")'], "order.created"),
        (["x", "trigger_on_event=['people/joined']"], "people/joined"),
        (["trigger_on_event=TOPIC"], "people/joined"),
    ],
)
def test_the_example_is_a_literal_trigger_of_what_is_loaded_where_that_can_be_told(
    sources: list[str], topic: str
) -> None:
    assert listening.example(KNOWN, sources) == topic


def test_patterns_alone_are_no_example() -> None:
    assert listening.example([{"triggers": ["people/*"]}], ["people/*"]) is None

"""What a workflow without its code is: read from announcements and journals, whatever release wrote them."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from app.engine.values import known
from app.engine.values.known import Definition
from headgate.definition import BatchBy, Order
from tests.unit.app.engine.partition import Partition, flow

GATHERING = flow(
    "gather", ["orders/*", "x"], batch_size=5, batch_timeout_seconds=2, batch_by="key", order="none", version="3"
)

# No workflow is written so, and a release to come may announce one.
UNTRIGGERED = replace(Definition.of(flow()), triggers=(), patterns=())


def test_a_definition_takes_the_topics_that_the_workflow_takes() -> None:
    definition = Definition.of(GATHERING)

    assert [definition.matches(topic) for topic in ("orders/created", "x", "orders", "y")] == [True, True, False, False]
    assert not UNTRIGGERED.matches("x")


TICKING = Definition.of(flow("tick", None, schedule={"cron": "@daily", "timezone": "Asia/Tokyo", "catch_up": "all"}))


CANCELLED = Definition.of(
    flow("cancelled", cancel_on=["orders/cancelled", "shops/*"], cancel_filter=lambda _: True, on_failure="tell")
)


@pytest.mark.parametrize("found", [Definition.of(GATHERING), Definition.of(flow()), UNTRIGGERED, TICKING, CANCELLED])
def test_a_definition_comes_back_from_the_journal_as_it_was(found: Definition) -> None:
    definition = replace(found, announced_ms=7)

    assert known.from_journal(found.id, orjson.loads(orjson.dumps(known.described(definition)))) == definition


def test_the_journal_holds_what_decides_whether_and_how_an_event_is_taken() -> None:
    partition = Partition(GATHERING, announced=[Definition.of(flow("a"), announced_ms=5)])
    partition.commit()

    assert partition.entity(b"known") == {
        "r": 1,
        "since": {"a": 0, "gather": 0},
        "workflows": {
            "a": {
                "version": "1",
                "triggers": ["orders/created"],
                "batch_size": 1,
                "batch_timeout_seconds": None,
                "batch_by": "workflow",
                "order": "key",
                "announced": 5,
            },
            "gather": {
                "version": "3",
                "triggers": ["orders/*", "x"],
                "batch_size": 5,
                "batch_timeout_seconds": 2.0,
                "batch_by": "key",
                "order": "none",
                "announced": 0,
            },
        },
    }
    definition = partition.takeover().state.definitions["gather"]
    assert (definition.batch_by, definition.order) == (BatchBy.KEY, Order.NONE)


def test_a_definition_without_a_schedule_does_not_mention_it_and_one_with_cron_of_a_newer_release_is_read() -> None:
    later = known.described(TICKING) | {"schedule": {"cron": "0 0 LW * *", "timezone": "Moon/Sea", "catch_up": "skip"}}

    assert "schedule" not in known.described(Definition.of(flow()))
    found = known.from_journal("tick", later).schedule
    assert found is not None
    assert (found.cron, found.timezone) == ("0 0 LW * *", "Moon/Sea")


def test_fields_of_a_newer_release_are_passed_over() -> None:
    found = known.described(Definition.of(flow())) | {"waits_for": ["x"]}

    assert known.from_journal("charge", found) == Definition.of(flow())


@pytest.mark.parametrize(
    "changed",
    [
        {"triggers": None},
        {"triggers": [""]},
        {"batch_by": "galaxy"},
        {"order": 7},
        {"announced": "then"},
        {"schedule": {}},
    ],
)
def test_what_cannot_be_read_raises(changed: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        known.from_journal("charge", known.described(Definition.of(flow())) | changed)

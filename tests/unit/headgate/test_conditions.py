from datetime import timedelta
from typing import Any

import pytest

from headgate import Met, after, event_on
from headgate.conditions import After, EventOn


def test_a_condition_is_a_value_with_what_was_given() -> None:
    assert event_on("orders/paid") == EventOn(
        topic="orders/paid", event_key=None, event_type=None, filter=None, since="run_start"
    )
    assert event_on("a", event_key="k", event_type="t", filter=bool, since="now") == EventOn(
        topic="a", event_key="k", event_type="t", filter=bool, since="now"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"seconds": 5}, After(seconds=5)),
        ({"seconds": timedelta(hours=1)}, After(seconds=timedelta(hours=1))),
        ({"minutes": 1, "hours": 1}, After(seconds=0, more=(("minutes", 1), ("hours", 1)))),
        ({"weeks": 1e10}, After(seconds=0, more=(("weeks", 1e10),))),
    ],
)
def test_a_time_is_kept_as_it_was_given(given: dict[str, Any], expected: After) -> None:
    assert after(**given) == expected


def test_what_was_met_can_be_taken_apart() -> None:
    number, event = Met(1, None)
    assert (number, event) == (1, None)

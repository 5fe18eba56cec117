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
    ("given", "seconds"), [({"seconds": 5}, 5), ({"minutes": 1, "hours": 1}, 3_660), ({"weeks": 1, "days": 1}, 691_200)]
)
def test_a_time_is_the_sum_of_its_parts(given: dict[str, float], seconds: float) -> None:
    assert after(**given) == After(seconds=seconds)


def test_what_was_met_can_be_taken_apart() -> None:
    number, event = Met(1, None)
    assert (number, event) == (1, None)

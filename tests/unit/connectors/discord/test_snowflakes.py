"""Discord's ids."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.discord import snowflakes


def test_an_id_tells_when_it_was_made() -> None:
    """The example of Discord's reference."""
    assert snowflakes.created_at("175928847299117063") == datetime(2016, 4, 30, 11, 18, 25, 796_000, tzinfo=UTC)


@given(st.datetimes(datetime(2015, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 the zone is given
def test_the_first_id_of_a_moment_is_of_that_moment(moment: datetime) -> None:
    assert snowflakes.created_at(snowflakes.first_of(moment)) == moment.replace(
        microsecond=moment.microsecond // 1000 * 1000
    )


def test_moments_before_discord_have_the_least_id() -> None:
    assert snowflakes.first_of(datetime(2000, 1, 1, tzinfo=UTC)) == "0"


@pytest.mark.parametrize("value", [None, 5, "", "-1", "1.5", "x", "٣", "1" * 21, str(2**64)])
def test_what_is_no_id_is_none(value: object) -> None:
    assert snowflakes.read(value) is None


def test_ids_are_compared_as_numbers() -> None:
    assert snowflakes.newer("10", "9")
    assert not snowflakes.newer("9", "9")
    assert snowflakes.read(str(2**64 - 1)) == str(2**64 - 1)

"""Times of records as numbers and back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.poll import times


@pytest.mark.parametrize(
    ("raw", "form", "micros"),
    [
        ("1970-01-01T00:00:01Z", "iso", 1_000_000),
        ("1970-01-01T00:00:01", "iso", 1_000_000),
        ("1970-01-01 01:00:00.5+01:00", "iso", 500_000),
        ("1970-01-02", "iso", 86_400_000_000),
        ("1970-01-01T00:00:00.123456789Z", "iso", 123_456),
        ("19700101T000001Z", "iso", 1_000_000),
        (1.5, "seconds", 1_500_000),
        ("2", "seconds", 2_000_000),
        (1_500, "milliseconds", 1_500_000),
        (-1, "seconds", -1_000_000),
    ],
)
def test_a_time_is_read_as_it_is_written(raw: Any, form: str, micros: int) -> None:
    assert micros == times.parse(raw, form)


@pytest.mark.parametrize(
    ("raw", "form"),
    [
        (None, "iso"),
        (1, "iso"),
        ("", "iso"),
        ("yesterday", "iso"),
        (True, "seconds"),
        (None, "seconds"),
        ([], "seconds"),
        ("soon", "seconds"),
        (float("inf"), "seconds"),
        (float("nan"), "seconds"),
    ],
)
def test_what_is_no_time_is_an_error(raw: Any, form: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        times.parse(raw, form)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_survives_the_way_there_and_back(moment: datetime) -> None:
    assert moment == times.moment(times.micros(moment))
    assert times.micros(moment) == times.parse(times.text(times.micros(moment), "iso"), "iso")


def test_a_time_is_written_as_servers_read_it() -> None:
    micros = times.micros(datetime(2026, 6, 1, 12, 0, 0, 500_000, UTC))

    assert "2026-06-01T12:00:00.500000Z" == times.text(micros, "iso")
    assert str(micros // 1_000_000) == times.text(micros, "seconds")
    assert str(micros // 1_000) == times.text(micros, "milliseconds")


def test_a_time_beyond_the_calendar_is_its_end() -> None:
    assert times.moment(10**30) is None
    assert times.text(10**30, "iso").startswith("9999-12-31")
    assert times.text(-(10**30), "iso").startswith("0001-01-01")

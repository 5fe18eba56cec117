import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.timestamps import MAX_MS, milliseconds, rfc3339, utc


@pytest.mark.parametrize(
    ("text", "in_utc"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500Z"),
        ("2026-01-31T12:00:00.123999999Z", "2026-01-31T12:00:00.123Z"),
        ("2026-01-31T12:00:00+05:30", "2026-01-31T06:30:00.000Z"),
        ("2026-01-31T12:00:00.250Z", "2026-01-31T12:00:00.250Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_shown_in_utc_with_milliseconds(text: str, in_utc: str) -> None:
    assert utc(text) == in_utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:00:61Z",
        "2026-01-31T12:00:00+0530",
        "2026-01-31T12:00:00+99:00",
        "2026-01-31T12:00:00Z\n",
        "0000-01-01T00:00:00Z",
        "20260131T120000Z",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an RFC 3339 time"):
        milliseconds(text)


@given(st.integers(0, MAX_MS))
def test_milliseconds_and_text_are_each_others_inverse(ms: int) -> None:
    text = rfc3339(ms)
    assert milliseconds(text) == ms
    assert dt.datetime.fromisoformat(text).timestamp() == pytest.approx(ms / 1000)


@pytest.mark.parametrize(("ms", "shown"), [(-1, "1970-01-01T00:00:00.000Z"), (2**62, "9999-12-31T23:59:59.999Z")])
def test_a_timestamp_that_is_no_date_is_shown_as_the_nearest(ms: int, shown: str) -> None:
    assert rfc3339(ms) == shown

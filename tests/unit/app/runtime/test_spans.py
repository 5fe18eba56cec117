import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from app.runtime import spans
from app.runtime.limits import Misuse


@pytest.mark.parametrize(
    ("given", "ms"),
    [
        (0, 0),
        (1, 1_000),
        (0.0001, 1),
        (2.5, 2_500),
        (timedelta(days=1), 86_400_000),
        (10 * 366 * 86_400, 316_224_000_000),
    ],
)
def test_a_span_is_in_milliseconds_and_never_too_short(given: Any, ms: int) -> None:
    assert spans.span_ms(given, "timeout") == ms
    assert spans.optional_ms(None, "timeout") is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("5", "is '5'; give seconds or a timedelta"),
        (True, "is True; give seconds or a timedelta"),
        (None, "is None; give seconds"),
        (math.nan, "is nan; give seconds"),
        (10**400, "more than ten years; give less"),
        (math.inf, "is inf, more than ten years; give less"),
        (-1, "is -1, less than 0; give how long from now"),
        (timedelta(days=3_661), "more than ten years"),
    ],
)
def test_a_span_that_is_none_is_refused(given: Any, words: str) -> None:
    with pytest.raises(Misuse) as caught:
        spans.span_ms(given, "timeout")
    assert str(caught.value).startswith("timeout is ")
    assert words in str(caught.value)


def test_a_time_has_a_zone() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert spans.time_ms(noon, "until") == 1_769_860_800_000
    assert spans.time_ms(noon.astimezone(timezone(timedelta(hours=5))), "until") == 1_769_860_800_000
    for wrong in (datetime(2026, 1, 31), "2026-01-31", 5):  # noqa: DTZ001 the case in question
        with pytest.raises(Misuse, match=r"^until is .*zone"):
            spans.time_ms(wrong, "until")


def test_a_time_to_come_is_neither_over_nor_too_far_away() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=1)))
    ms = spans.time_ms(noon, "until")
    spans.check_to_come(noon, ms, ms, "until")
    with pytest.raises(Misuse) as caught:
        spans.check_to_come(noon, ms, ms + 1_500, "until")
    assert str(caught.value) == (
        "until is 2026-01-31T12:00:00+01:00, and it is 2026-01-31T12:00:01.500000+01:00 already; give a time to come"
    )
    with pytest.raises(Misuse, match=r"until is 2026-01-31T12:00:00\+01:00, more than ten years away; give an earlier"):
        spans.check_to_come(noon, ms, ms - 316_224_000_001, "until")

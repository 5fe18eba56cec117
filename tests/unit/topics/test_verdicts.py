from datetime import timedelta
from typing import Any

import pytest

from topics.verdicts import HeadgateError, Reject, RetryLater


@pytest.mark.parametrize("delay", [90, 90.0, timedelta(minutes=1.5)])
def test_a_delay_is_seconds_or_a_timedelta(delay: Any) -> None:
    verdict = RetryLater(delay, "the shop is closed")
    assert verdict.delay_seconds == 90.0
    assert str(verdict) == "retry in 90 s: the shop is closed"


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), timedelta(days=9999)])
def test_a_delay_outside_of_zero_to_ten_years_is_refused(delay: Any) -> None:
    with pytest.raises(ValueError, match=r"for example RetryLater\(30\)"):
        RetryLater(delay)


@pytest.mark.parametrize("delay", ["30", None, True])
def test_a_delay_that_is_no_time_is_refused(delay: Any) -> None:
    with pytest.raises(TypeError, match="takes seconds or a timedelta"):
        RetryLater(delay)


def test_reject_carries_where_and_what() -> None:
    verdict = Reject("no total", pointer="/data/total", event_id="o-1")
    assert (str(verdict), verdict.pointer, verdict.event_id) == ("no total", "/data/total", "o-1")
    assert isinstance(verdict, HeadgateError)

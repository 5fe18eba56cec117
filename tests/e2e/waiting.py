"""Waiting for a condition with a deadline: the only way in which these tests let time pass."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

Found = TypeVar("Found")

_POLL_SECONDS: Final = 0.02


class Expired(AssertionError):
    """What was waited for did not come true in time."""


def until(found: Callable[[], Found | None], seconds: float, what: str, *, else_show: Callable[[], str] = str) -> Found:
    """Return the first true answer of `found`. Raises Expired, which ends with what `else_show` says."""
    end = time.monotonic() + seconds
    while True:
        answer = found()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Expired(f"not within {seconds:g} s: {what}\n{else_show()}")
        time.sleep(_POLL_SECONDS)

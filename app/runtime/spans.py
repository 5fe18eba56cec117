"""Times as authors give them, in milliseconds: seconds, timedeltas, times with a zone; none above ten years."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from app.runtime.limits import Misuse
from topics.verdicts import MAX_DELAY_SECONDS

_MOST_MS: Final = MAX_DELAY_SECONDS * 1000


def span_ms(given: Any, what: str) -> int:
    """Return a span of seconds or a timedelta in milliseconds, rounded up. Raises Misuse."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or (isinstance(seconds, float) and math.isnan(seconds)):
        raise Misuse(f"{what} is {given!r}; give seconds or a timedelta, for example 30")
    if seconds < 0:
        raise Misuse(f"{what} is {given!r}, less than 0; give how long from now")
    if seconds > MAX_DELAY_SECONDS:
        raise Misuse(f"{what} is {given!r}, more than ten years; give less")
    return math.ceil(seconds * 1000)


def sum_ms(key: str, seconds: Any, more: Mapping[str, Any]) -> int:
    """Return the sum of a span and of `more` by its units (minutes, hours, days, weeks) in milliseconds, for step
    `key`. Raises Misuse: also where there is no number.
    """
    if not any(more.values()):
        return span_ms(seconds, f"seconds of step {key!r}")
    try:
        span = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
        span += timedelta(**more)
    except (TypeError, OverflowError, ValueError) as error:
        raise Misuse(f"the span of step {key!r} cannot be read: {error}; give numbers, at most ten years") from None
    return span_ms(span, f"the span of step {key!r}")


def optional_ms(given: Any, what: str) -> int | None:
    """Return `span_ms`, None for none."""
    return None if given is None else span_ms(given, what)


def time_ms(given: Any, what: str) -> int:
    """Return a time in milliseconds since 1970. Raises Misuse: it is none, or has no zone."""
    if not isinstance(given, datetime):
        raise Misuse(f"{what} is {given!r}; give a datetime with a zone, for example datetime.now(UTC)")
    if given.tzinfo is None or given.utcoffset() is None:
        raise Misuse(f"{what} is {given!r}, which has no zone; give one, for example by replace(tzinfo=UTC)")
    return math.ceil(given.timestamp() * 1000)


def check_to_come(until: datetime, until_ms: int, now_ms: int, what: str) -> None:
    """Raise Misuse for a time that is over, or more than ten years away."""
    if until_ms < now_ms:
        now = datetime.fromtimestamp(now_ms / 1000, until.tzinfo)
        raise Misuse(f"{what} is {until.isoformat()}, and it is {now.isoformat()} already; give a time to come")
    if until_ms - now_ms > _MOST_MS:
        raise Misuse(f"{what} is {until.isoformat()}, more than ten years away; give an earlier time")

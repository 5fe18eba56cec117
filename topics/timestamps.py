"""Instants as text (RFC 3339, UTC, milliseconds) and as Kafka's milliseconds since 1970. Hot: used for every record."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

MAX_MS: Final = 253_402_300_799_999
"""The last millisecond of year 9999. Producers may write any timestamp; what lies outside is shown as the nearest."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}):(\d{2})(?:\.(\d{1,32}))?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)


@lru_cache(maxsize=8192)  # at 100,000 events/s a hundred records share a millisecond: 0.05 us instead of 2
def rfc3339(ms: int) -> str:
    """Return `ms` as for example "2026-01-31T12:00:00.250Z"."""
    seconds, rest = divmod(min(max(ms, 0), MAX_MS), 1000)
    return f"{_to_the_second(seconds)}.{rest:03}Z"


@lru_cache(maxsize=64)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


@lru_cache(maxsize=1024)
def milliseconds(text: str) -> int:
    """Return the instant of an RFC 3339 `text`, rounded down to a millisecond. Raises ValueError when it is none."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z")
    date, minute, second, fraction, zone = match.groups()
    leap = second == "60"  # RFC 3339 allows leap seconds, datetime does not: the same instant, counted from :59
    zone = "+00:00" if zone in "Zz" else zone
    try:
        instant = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second}{zone}")
        ms = (instant - _EPOCH) // timedelta(milliseconds=1) + (1000 if leap else 0)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:80]!r} is not an RFC 3339 time: {error}") from None
    return ms + int(((fraction or "0") + "00")[:3])


def utc(text: str) -> str:
    """Return the RFC 3339 `text` in UTC with milliseconds."""
    if len(text) == 24 and text[-1] == "Z" and text[10] == "T":
        return text
    return rfc3339(milliseconds(text))

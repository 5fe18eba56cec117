"""Discord's ids: 64 bits as decimal text, the upper 42 of them milliseconds since 2015 (Discord: API Reference)."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

_EPOCH: Final = datetime(2015, 1, 1, tzinfo=UTC)
_BITS: Final = 64
_TIME_SHIFT: Final = 22


def read(value: Any) -> str | None:
    """Return `value` if it is a snowflake, else None."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 20:
        return None
    return value if int(value) < 1 << _BITS else None


def created_at(snowflake: str) -> datetime:
    """Return when an id was made."""
    return _EPOCH + timedelta(milliseconds=int(snowflake) >> _TIME_SHIFT)


def first_of(moment: datetime) -> str:
    """Return the least id of a moment."""
    return str(max(0, (moment - _EPOCH) // timedelta(milliseconds=1)) << _TIME_SHIFT)


def newer(one: str, than: str) -> bool:
    return int(one) > int(than)

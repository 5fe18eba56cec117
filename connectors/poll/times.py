"""Times of records as numbers: microseconds since 1970, and back."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SCALES: Final = {"seconds": 1_000_000, "milliseconds": 1_000}


def micros(moment: datetime) -> int:
    """Return a time as a number; one without a zone is in UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime | None:
    """Return the time of a number, None beyond the years that exist here."""
    try:
        return _EPOCH + timedelta(microseconds=value)
    except OverflowError:
        return None


def parse(raw: Any, form: str) -> int:
    """Read a time as it is written in a record. Raises ValueError."""
    try:
        if form == "iso":
            if not isinstance(raw, str):
                raise ValueError("it is no text")
            return micros(datetime.fromisoformat(raw.strip()))
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError("it is no number")
        number = int(raw) if isinstance(raw, int) or (isinstance(raw, str) and raw.strip().isdigit()) else float(raw)
        return int(number * _SCALES[form])
    except OverflowError as error:
        raise ValueError("it is beyond all times") from error


def text(value: int, form: str) -> str:
    """Write a time as a server reads it, rounded down."""
    if form != "iso":
        return str(value // _SCALES[form])
    known = moment(value)
    if known is None:
        known = datetime.max.replace(tzinfo=UTC) if value > 0 else datetime.min.replace(tzinfo=UTC)
    return known.isoformat().replace("+00:00", "Z")

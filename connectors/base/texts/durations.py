"""Durations as people write them: `90s`, `1h30m`, `2d`, ISO 8601 (`PT1H30M`), or a number of seconds."""

import re
from typing import Any, Final

_UNITS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_PARTS: Final = re.compile(r"(?:\d{1,12}(?:\.\d{1,9})?(?:ms|[smhdw]))+", re.ASCII)
_PART: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|[smhdw])", re.ASCII)
_ISO: Final = re.compile(
    r"P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12}(?:\.\d{1,9})?)S)?)?", re.ASCII
)
_ISO_UNITS: Final = (7 * 86_400, 86_400, 3600, 60, 1)


def parse(text: str) -> float:
    """Return the seconds of a duration. Raises ValueError with what is accepted."""
    short = text.strip()
    if _PARTS.fullmatch(short):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(short))
    iso = _ISO.fullmatch(short.upper())
    if iso is not None and any(iso.groups()):
        return sum(float(number) * unit for number, unit in zip(iso.groups(), _ISO_UNITS, strict=True) if number)
    raise ValueError("a duration is a number with a unit such as 90s, 5m, 1h30m or 2d, or ISO 8601 such as PT1H")


def seconds(value: Any) -> Any:
    """Read a text as a duration, a plain number in it as seconds; leave anything else to the type."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\s*\d{1,12}(\.\d{1,9})?\s*", value, re.ASCII):
        return float(value)
    return parse(value)


def shown(seconds: float) -> str:
    """Return a duration as people write it, in one unit: `90s`, `15m`, `2d`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds // length:g}{unit}"
    return f"{seconds:g}s"

"""One entry of a stream as an event: its fields as data, or what is in one of them. Pure.

An entry is its id, `<milliseconds>-<number>`, and pairs of field and value, both bytes. A field may stand twice.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson

from connectors.base.contract import Ack, Received, Unreadable

_FIRST_PLAUSIBLE: Final = datetime(2009, 5, 1, tzinfo=UTC)
"""Redis did not exist before: an id of an earlier time was chosen by whoever added the entry."""
_AHEAD: Final = timedelta(days=1)


class Values(StrEnum):
    """How the values of fields become JSON."""

    TEXT = "text"
    """UTF-8; an entry with other bytes is a dead letter."""
    BASE64 = "base64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a stream has under an id; `pairs` is None when the entry itself is gone and only its delivery is known."""

    stream: str
    id: str
    pairs: Sequence[bytes] | None

    @property
    def event_id(self) -> str:
        """An id is unique in its stream, as long as nobody deletes the stream and chooses ids by hand."""
        return f"{self.stream}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What of an entry is data, type and key."""

    values: Values = Values.TEXT
    data_field: str | None = None
    type_field: str | None = None
    key_field: str | None = None


def read(entry: Entry, form: Form, *, now: datetime, ack: Ack) -> Received | Unreadable:
    """Return the event that an entry is, or why it is none."""
    try:
        fields = _fields(entry.pairs or ())
        data = _json(fields, form.data_field) if form.data_field is not None else _all(fields, form.values)
        event_type = _one(fields, form.type_field) if form.type_field is not None else None
        key = _one(fields, form.key_field) if form.key_field is not None else None
    except _NotReadable as error:
        return unreadable(entry, str(error), ack=ack)
    return Received(
        id=entry.event_id,
        event_type=event_type or entry.stream,
        data=data,
        key=key,
        created_at=added_at(entry.id, now=now),
        ack=ack,
    )


def unreadable(entry: Entry, reason: str, *, ack: Ack) -> Unreadable:
    """Return an entry as a dead letter: its fields as JSON, values that are no UTF-8 as base64."""
    pairs = entry.pairs or ()
    shown = [[_shown(name), _shown(value)] for name, value in zip(pairs[::2], pairs[1::2], strict=False)]
    return Unreadable(id=entry.event_id, reason=reason, raw=orjson.dumps(shown), ack=ack)


def added_at(entry_id: str, *, now: datetime) -> datetime | None:
    """Return when an entry was added, by its id; None when somebody chose the id, so that it is no time."""
    text = entry_id.partition("-")[0]
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        return None
    try:
        time = datetime.fromtimestamp(int(text) / 1000, UTC)
    except (OverflowError, ValueError):
        return None
    return time if _FIRST_PLAUSIBLE <= time <= now + _AHEAD else None


class _NotReadable(Exception):
    """An entry is no event: the words say why."""


def _fields(pairs: Sequence[bytes]) -> Mapping[str, list[bytes]]:
    fields: dict[str, list[bytes]] = {}
    for name, value in zip(pairs[::2], pairs[1::2], strict=False):
        fields.setdefault(_text(name, "the name of a field"), []).append(value)
    return fields


def _all(fields: Mapping[str, list[bytes]], values: Values) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, found in fields.items():
        if values is Values.BASE64:
            made = [base64.b64encode(value).decode("ascii") for value in found]
        else:
            made = [_text(value, f"the value of {name!r}") for value in found]
        data[name] = made[0] if len(made) == 1 else made
    return data


def _json(fields: Mapping[str, list[bytes]], name: str) -> Any:
    if name not in fields:
        raise _NotReadable(f"it has no field {name!r}, which the option data_field names")
    try:
        return orjson.loads(fields[name][-1])
    except orjson.JSONDecodeError as error:
        raise _NotReadable(f"the field {name!r} is no JSON ({error})") from None


def _one(fields: Mapping[str, list[bytes]], name: str) -> str | None:
    return _text(fields[name][-1], f"the value of {name!r}") or None if name in fields else None


def _text(value: bytes, what: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _NotReadable(f"{what} is no UTF-8; the option values can be base64") from None


def _shown(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode("ascii")}

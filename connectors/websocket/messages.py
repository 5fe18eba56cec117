"""A message as an event: its data, its type, its id. Pure.

The type is the message's `type`, else its `event`, else `message`.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from connectors.base.services.bodies import Form
from connectors.base.texts.templates import MISSING
from topics.fields import MAX_DEPTH, check_depth
from topics.malformed import Malformed

DEFAULT_TYPE: Final = "message"
MOST_TYPE_CHARS: Final = 200

Pointer = tuple[str, ...]


class NotReadable(Exception):
    """A message is not what the options say it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How messages are read. `raw_binary` reads frames of bytes as if they were text."""

    form: Form = Form.AUTO
    raw_binary: bool = False
    id_pointer: Pointer | None = None
    type_pointer: Pointer | None = None
    position_pointer: Pointer | None = None

    def data(self, message: str | bytes) -> Any:
        """Return the data of a message. Raises NotReadable."""
        if isinstance(message, bytes):
            if not self.raw_binary:
                return base64.b64encode(message).decode("ascii")
            try:
                message = message.decode()
            except UnicodeDecodeError:
                raise NotReadable("the bytes are no UTF-8; the option binary can be base64") from None
        match self.form:
            case Form.AUTO:
                return _json(message, else_text=True) if message.lstrip()[:1] in ("{", "[") else message
            case Form.JSON:
                return _json(message, else_text=False)
            case Form.TEXT:
                return message
            case Form.BASE64:
                return base64.b64encode(message.encode()).decode("ascii")

    def event_type(self, data: Any) -> str:
        """Return the type of a message with this data."""
        if self.type_pointer is not None:
            return _label(found(data, self.type_pointer)) or DEFAULT_TYPE
        if isinstance(data, dict):
            return _label(data.get("type")) or _label(data.get("event")) or DEFAULT_TYPE
        return DEFAULT_TYPE

    def event_id(self, data: Any) -> str | None:
        """Return the id that a message has by itself; None when it has none."""
        if self.id_pointer is None:
            return None
        value = found(data, self.id_pointer)
        return value or None if isinstance(value, str) else str(value) if _is_number(value) else None

    def position(self, data: Any) -> Any:
        """Return what a message has for going on after it; MISSING when it has nothing."""
        return MISSING if self.position_pointer is None else found(data, self.position_pointer)


def pointer(text: str) -> Pointer:
    """Read a JSON pointer (RFC 6901). Raises ValueError."""
    if text and not text.startswith("/"):
        raise ValueError("a JSON pointer is empty or begins with /, such as /data/id")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def found(data: Any, where: Sequence[str]) -> Any:
    """Return what a pointer leads to, MISSING where that is nothing."""
    for step in where:
        if isinstance(data, dict):
            data = data.get(step, MISSING)
        elif isinstance(data, list) and step.isascii() and step.isdigit() and len(step) < 8:
            data = data[int(step)] if int(step) < len(data) else MISSING
        else:
            return MISSING
    return data


def _json(message: str, *, else_text: bool) -> Any:
    try:
        data = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        if else_text:
            return message
        raise NotReadable(f"it is no JSON: {error}") from None
    if message.count("{") + message.count("[") > MAX_DEPTH:  # else it cannot be so deep; an answer has to hold it
        try:
            check_depth(data)
        except Malformed as error:
            raise NotReadable(error.reason) from None
    return data


def _label(value: Any) -> str | None:
    if isinstance(value, str):
        return value if 0 < len(value) <= MOST_TYPE_CHARS else None
    return str(value) if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

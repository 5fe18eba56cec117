"""Bodies of messages as data: JSON, text, or bytes in base64. For queues whose messages are plain bytes."""

import base64
from enum import StrEnum
from typing import Any

import orjson


class Form(StrEnum):
    """How a body is read."""

    AUTO = "auto"
    """An object or a list of JSON, else text, else base64: a lone `12` stays the text that it may be."""
    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"


class NotOfThatForm(ValueError):
    """A body is not what the options say it is."""


def read(body: bytes, form: Form) -> Any:
    """Return the data of a body. Raises NotOfThatForm."""
    match form:
        case Form.JSON:
            try:
                return orjson.loads(body)
            except orjson.JSONDecodeError as error:
                raise NotOfThatForm(f"the body is no JSON: {error}") from None
        case Form.TEXT:
            try:
                return body.decode()
            except UnicodeDecodeError as error:
                raise NotOfThatForm(f"the body is no UTF-8: {error.reason} at byte {error.start}") from None
        case Form.BASE64:
            return base64.b64encode(body).decode("ascii")
        case Form.AUTO:
            if body.lstrip()[:1] in (b"{", b"["):
                try:
                    return orjson.loads(body)
                except orjson.JSONDecodeError:
                    pass
            try:
                return body.decode()
            except UnicodeDecodeError:
                return base64.b64encode(body).decode("ascii")

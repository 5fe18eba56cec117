"""The bytes of a body as JSON: what is JSON, forms, text, and base64 of everything else. Asked after the proof."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import parse_qsl

from connectors.webhook.messages import Denial, Request
from topics import fields
from topics.malformed import Malformed

MOST_FIELDS: Final = 1000
FORM: Final = "application/x-www-form-urlencoded"
CLOUD_EVENT: Final = "application/cloudevents+json"
CLOUD_EVENTS: Final = "application/cloudevents-batch+json"
_BOM: Final = b"\xef\xbb\xbf"
_TEXTS: Final = {"iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252"}
_UNICODE: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})


class Encoding(StrEnum):
    """How a body stands in an event."""

    JSON = "json"
    FORM = "form"
    TEXT = "text"
    BASE64 = "base64"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body as JSON."""

    value: Any
    encoding: Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A content type: `type/subtype` and its charset, in lower case."""

    name: str
    charset: str

    @classmethod
    def of(cls, request: Request) -> "Media":
        """Raises Denial 415."""
        encodings = [one.strip().lower() for one in request.values(b"content-encoding")]
        if any(one not in (b"", b"identity") for one in encodings):
            raise _unsupported("The body is compressed.", "Send it as it is, without Content-Encoding.")
        values = request.values(b"content-type")
        if len(values) > 1:
            raise _unsupported("The header content-type comes twice.", "Send it once.")
        name, _, parameters = (values[0] if values else b"").decode("latin-1").lower().partition(";")
        charset = parameters.partition("charset=")[2].partition(";")[0].strip(" \"'")
        return cls(name=name.strip(), charset=charset)

    def is_one_of(self, allowed: Sequence[str]) -> bool:
        """Whether it is allowed; `text/*` allows every text."""
        return any(self.name == one or (one.endswith("/*") and self.name.startswith(one[:-1])) for one in allowed)

    @property
    def is_json(self) -> bool:
        """Whether it says that the body is JSON."""
        return self.name.endswith(("/json", "+json"))


def read(request: Request, media: Media) -> Body:
    """Return the body as JSON. Raises Denial 400 and 415."""
    raw = request.body
    if not raw:
        return Body(value=None, encoding=Encoding.EMPTY)
    if media.is_json:
        if media.charset not in _UNICODE:
            raise _unsupported("JSON is UTF-8.", "Send it so, or leave the charset out.")
        return Body(value=json_of(raw), encoding=Encoding.JSON)
    if media.name == FORM:
        return Body(value=_form(raw), encoding=Encoding.FORM)
    if not media.name:
        try:
            return Body(value=json_of(raw), encoding=Encoding.JSON)
        except Denial:
            pass
    if not media.name or media.name.startswith("text/") or media.name.endswith(("/xml", "+xml")):
        text = _text(raw, media.charset)
        if text is not None:
            return Body(value=text, encoding=Encoding.TEXT)
    return Body(value=base64.b64encode(raw).decode(), encoding=Encoding.BASE64)


def json_of(raw: bytes) -> Any:
    """Return the JSON in a body; a byte order mark before it is passed over. Raises Denial 400."""
    try:
        return fields.parse(raw.removeprefix(_BOM))
    except Malformed as error:
        raise Denial(
            400,
            "not_json",
            f"The body cannot be read as JSON: {error.reason}.",
            remedy="Send JSON in UTF-8, or another content type.",
        ) from None


def _form(raw: bytes) -> dict[str, Any]:
    try:
        pairs = parse_qsl(raw.decode(errors="replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Denial(
            400, "wrong_fields", f"The form has more than {MOST_FIELDS} fields.", remedy="Send JSON instead."
        ) from None
    return gathered(pairs)


def gathered(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return names with their value, or with the list of their values where there are several."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def payload_of(body: Body) -> Any:
    """Return what some senders put into a form's field `payload` as JSON, else the body itself. Raises Denial 400."""
    if body.encoding is Encoding.FORM and isinstance(body.value.get("payload"), str):
        return json_of(body.value["payload"].encode())
    return body.value


def _text(raw: bytes, charset: str) -> str | None:
    codec = "utf-8" if charset in _UNICODE else _TEXTS.get(charset)
    if codec is None:
        return None
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def _unsupported(fact: str, remedy: str) -> Denial:
    return Denial(415, "unsupported_media_type", fact, remedy=remedy)

"""Makes the event of a change of a file: its id, its data, and the file's content in the form that was asked for."""

import base64
import os
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson

from connectors.base.contract import Received, Unreadable
from connectors.base.instance.events import bounded_id
from connectors.file.changes import Change

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BOM: Final = b"\xef\xbb\xbf"


class Content(StrEnum):
    """How the content of a file becomes part of its event."""

    NONE = "none"
    TEXT = "text"
    BASE64 = "base64"
    JSON = "json"


def item(
    change: Change, *, folder: str, content: Content, raw: bytes | None = None, omitted: str | None = None
) -> Received | Unreadable:
    """Return the event of a change; `raw` is what is in the file, `omitted` says why that is left out.

    The id is path, inode, time of change, size and kind, so that what is found again after a crash is the same event.
    """
    shown = shown_path(change.path)
    state = change.state.hex() if change.seen is None else "-".join(map(str, change.seen))
    event_id = f"{change.kind.value}:{shown}:{state}"
    data: dict[str, Any] = {
        "path": shown,
        "name": shown.rpartition("/")[2],
        "folder": shown_path(folder),
        "size_bytes": None if change.seen is None else change.seen.size,
        "modified": None if change.seen is None else _modified(change.seen.mtime_ns),
    }
    if content is not Content.NONE and change.seen is not None:
        try:
            data["content"] = None if raw is None else _decoded(raw, content)
        except ValueError as error:
            return Unreadable(id=event_id, reason=f"the file {shown!r} is no {content.value}: {error}", raw=raw or b"")
        data["content_omitted"] = omitted
    return Received(id=event_id, event_type=change.kind.value, data=data, key=bounded_id(shown))


def shown_path(path: str) -> str:
    r"""Return a path as text: bytes of a name that are not UTF-8 are shown as `\xff`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def _decoded(raw: bytes, content: Content) -> Any:
    """Return content as JSON. Raises ValueError."""
    match content:
        case Content.TEXT:
            return raw.decode()
        case Content.JSON:
            return orjson.loads(raw.removeprefix(_BOM))
        case _:
            return base64.b64encode(raw).decode()


def _modified(mtime_ns: int) -> str | None:
    """RFC 3339; None for a time that no calendar has."""
    try:
        at = _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None
    return at.isoformat().replace("+00:00", "Z")

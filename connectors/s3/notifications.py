"""Notifications of S3 as a queue has them, from S3 itself or from EventBridge. Pure; called by the source.

Shapes: S3 User Guide, "Event message structure" and "EventBridge event message structure". Keys are URL-encoded in the
first, and as they are in the second.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson

from connectors.base.services.listing import Change

_CHANGES: Final[Mapping[str, Change]] = {
    "ObjectCreated": Change.CREATE,
    "ObjectRemoved": Change.DELETE,
    "LifecycleExpiration": Change.DELETE,
    "ObjectTagging": Change.UPDATE,
    "ObjectAcl": Change.UPDATE,
    "ObjectRestore": Change.UPDATE,
}
_BRIDGED: Final[Mapping[str, Change]] = {
    "Object Created": Change.CREATE,
    "Object Deleted": Change.DELETE,
    "Object Tags Added": Change.UPDATE,
    "Object Tags Deleted": Change.UPDATE,
    "Object ACL Updated": Change.UPDATE,
    "Object Restore Completed": Change.UPDATE,
}


class NotANotification(ValueError):
    """A body that S3 did not write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One object of which something is told."""

    change: Change
    event: str
    """As S3 calls it, such as `ObjectCreated:Put`."""
    bucket: str
    key: str
    size_bytes: int | None = None
    etag: str | None = None
    version_id: str | None = None
    sequencer: str | None = None
    at: str | None = None

    @property
    def id(self) -> str:
        """The version of the object, or what else tells two changes of it apart; the same in each repetition."""
        sequence = self.sequencer or self.at or ""
        match self.change:
            case Change.CREATE:
                version = self.version_id or self.sequencer or f"{self.etag}@{self.at}"
            case Change.DELETE:
                version = f"{self.version_id or sequence}!deleted"
            case Change.UPDATE:
                version = f"{self.version_id or self.etag}!{self.event}@{sequence}"
        return f"{self.bucket}/{self.key}@{version}"

    @property
    def happened_at(self) -> datetime | None:
        """When, if it is said in a form that can be read."""
        try:
            found = datetime.fromisoformat(self.at or "")
        except ValueError:
            return None
        return None if found.tzinfo is None else found


def parse(body: str) -> tuple[Notification, ...]:
    """Return what a message tells; nothing for a test and for what is no change. Raises NotANotification."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise NotANotification("the body is no JSON, so it is no notification of S3") from None
    if not isinstance(found, dict):
        raise NotANotification("the body is no object of JSON, so it is no notification of S3")
    if found.get("Event") == "s3:TestEvent":
        return ()
    if found.get("source") == "aws.s3":
        one = _bridged(found)
        return () if one is None else (one,)
    records = found.get("Records")
    if not isinstance(records, list) or not records:
        raise NotANotification("the body has neither `Records` nor a `detail`, so it is no notification of S3")
    return tuple(one for record in records if (one := _record(record)) is not None)


def _record(record: Any) -> Notification | None:
    event = _text(_at(record, "eventName"), "eventName").removeprefix("s3:")
    change = _CHANGES.get(event.partition(":")[0])
    if change is None:
        return None
    about = _at(record, "s3", "object")
    try:
        key = unquote_to_bytes(_text(_at(about, "key"), "s3.object.key").replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise NotANotification("s3.object.key is no UTF-8 once it is decoded") from None
    return Notification(
        change=change,
        event=event,
        bucket=_text(_at(record, "s3", "bucket", "name"), "s3.bucket.name"),
        key=key,
        size_bytes=_size(_at(about, "size")),
        etag=_optional(_at(about, "eTag")),
        version_id=_optional(_at(about, "versionId")),
        sequencer=_optional(_at(about, "sequencer")),
        at=_optional(_at(record, "eventTime")),
    )


def _bridged(found: dict[str, Any]) -> Notification | None:
    event = _text(found.get("detail-type"), "detail-type")
    change = _BRIDGED.get(event)
    if change is None:
        return None
    about = _at(found, "detail", "object")
    return Notification(
        change=change,
        event=event,
        bucket=_text(_at(found, "detail", "bucket", "name"), "detail.bucket.name"),
        key=_text(_at(about, "key"), "detail.object.key"),
        size_bytes=_size(_at(about, "size")),
        etag=_optional(_at(about, "etag")),
        version_id=_optional(_at(about, "version-id")),
        sequencer=_optional(_at(about, "sequencer")),
        at=_optional(found.get("time")),
    )


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise NotANotification(f"{where} is missing or no text, so it is no notification of S3")
    return value


def _optional(value: Any) -> str | None:
    return value.strip('"') or None if isinstance(value, str) else None


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

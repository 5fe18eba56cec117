"""Notifications of Cloud Storage as Pub/Sub has them. Pure; called by the source.

Attributes: Cloud Storage documentation, "Pub/Sub notifications for Cloud Storage". An object that is overwritten makes
two: the new one says what it overwrote, the old one by what it was overwritten; the second is no deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base.services.listing import Change


class NotANotification(ValueError):
    """Attributes that Cloud Storage did not write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One object of which something is told."""

    change: Change
    event: str
    """As Google calls it, such as `OBJECT_FINALIZE`."""
    bucket: str
    key: str
    generation: str
    which: str
    """What tells two changes of one generation apart; empty for the first."""

    @property
    def id(self) -> str:
        """The same in each repetition."""
        return f"{self.bucket}/{self.key}#{self.generation}{self.which}"


def parse(attributes: Mapping[str, str], about: Mapping[str, Any]) -> Notification | None:
    """Return what a message tells, with its payload `about` the object; None for no change. Raises NotANotification."""
    event = _text(attributes, "eventType")
    bucket, key = _text(attributes, "bucketId"), _text(attributes, "objectId")
    generation = _text(attributes, "objectGeneration")
    match event:
        case "OBJECT_FINALIZE":
            change = Change.UPDATE if attributes.get("overwroteGeneration") else Change.CREATE
            which = ""
        case "OBJECT_METADATA_UPDATE":
            change = Change.UPDATE
            number = about.get("metageneration")
            which = f".{number if number and isinstance(number, str | int) else attributes.get('eventTime', '')}"
        case "OBJECT_DELETE" | "OBJECT_ARCHIVE":
            if attributes.get("overwrittenByGeneration"):
                return None
            change, which = Change.DELETE, f"!deleted{'' if event == 'OBJECT_DELETE' else '.archived'}"
        case _:
            return None
    return Notification(change=change, event=event, bucket=bucket, key=key, generation=generation, which=which)


def _text(attributes: Mapping[str, str], name: str) -> str:
    found = attributes.get(name)
    if not found:
        raise NotANotification(f"the message has no attribute {name}, so it is no notification of Cloud Storage")
    return found

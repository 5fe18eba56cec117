"""Takes messages of SNS out of the envelopes in which a queue gets them; with raw delivery there is none.

Called by the kinds that read queues; the envelope's MessageId is the same in every queue of the topic.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from connectors.base.services.sqs import Message


class Unwrap(StrEnum):
    """Whether bodies are envelopes of SNS."""

    AUTO = "auto"
    """Those that look like one are; raw delivery has none."""
    SNS = "sns"
    NONE = "none"


class NoEnvelope(ValueError):
    """A body is no envelope of SNS where there has to be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message without its envelope; one without an envelope is its own letter."""

    id: str
    body: str
    attributes: Mapping[str, Any]
    sent_at: datetime | None
    subject: str | None = None
    topic_arn: str | None = None


def unwrapped(message: Message, how: Unwrap) -> Letter:
    """Return what is in a message. Raises NoEnvelope where there has to be one."""
    plain = Letter(id=message.id, body=message.body, attributes=message.attributes, sent_at=message.sent_at)
    if how is Unwrap.NONE:
        return plain
    envelope = _envelope(message.body)
    if envelope is not None:
        return envelope
    if how is Unwrap.SNS:
        raise NoEnvelope("the body is no notification of SNS; is raw delivery on? then set unwrap to auto or none")
    return plain


def _envelope(body: str) -> Letter | None:
    if '"Notification"' not in body:
        return None
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or found.get("Type") != "Notification":
        return None
    identity, topic_arn, text = found.get("MessageId"), found.get("TopicArn"), found.get("Message")
    if not (isinstance(identity, str) and isinstance(topic_arn, str) and isinstance(text, str)):
        return None
    attributes, subject = found.get("MessageAttributes"), found.get("Subject")
    return Letter(
        id=identity,
        body=text,
        attributes={
            name: one.get("Value")
            for name, one in sorted((attributes if isinstance(attributes, dict) else {}).items())
            if isinstance(one, dict)
        },
        sent_at=_iso(found.get("Timestamp")),
        subject=subject if isinstance(subject, str) else None,
        topic_arn=topic_arn,
    )


def _iso(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if found is None or found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

"""Reads a queue of SQS: long polls, leases that are extended, deletion after the broker. For `sqs`, `sns` and `s3`."""

import base64
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from connectors.base.contract import Ack, NotConnected, Site
from connectors.base.options import Field, Seconds
from connectors.base.services.aws import Aws, AwsOptions, region_of, told
from connectors.base.services.leases import Failed, Lease, Leases

AT_ONCE: Final = 10
"""Most messages in one request, by SQS."""
LONG_POLL_SECONDS: Final = 20
_PATIENCE_SECONDS: Final = LONG_POLL_SECONDS + 15
_LATE: Final = 0.25
"""The part of a message's visibility that its way to us may have taken: it is hidden since SQS gave it, and when that
was within a long poll nobody says."""
_SLOWEST_EMPTY_SECONDS: Final = 1.0
_CONTENT_HASH: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""The deduplication id that SQS makes of a body where its sender gave none: equal bodies are not equal messages."""


class QueueOptions(AwsOptions):
    """What is read from a queue."""

    visibility: Seconds = Field(
        default=20,
        ge=2,
        le=43_200,
        description="How long SQS hides a message that was read; extended in time while it waits for Kafka, "
        "so it is how long others wait for the messages of a process that died. It goes before the queue's own.",
    )
    max_in_flight: int = Field(
        default=1000,
        ge=1,
        le=20_000,
        description="Most messages that are read and not deleted yet.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message of the queue, lent to us until `ack` is called."""

    handle: str
    """Its receipt handle, of this time that it was read."""
    id: str
    """MessageId; of a FIFO queue the group with the deduplication id that the sender gave."""
    message_id: str
    body: str
    attributes: Mapping[str, Any]
    """Those of its sender: texts, numbers as texts, bytes in base64."""
    group: str | None
    sent_at: datetime | None
    received_count: int
    """ApproximateReceiveCount: how often it was read, this time included."""
    ack: Ack


class Queue:
    """One queue, as long as its source lives."""

    def __init__(self, options: QueueOptions, queue_url: str, site: Site) -> None:
        self._options, self.url, self._site = options, queue_url, site
        self._aws = Aws(options, site)
        parts = urlsplit(queue_url)
        self.name = f"{parts.path.rpartition('/')[2]!r} at {parts.hostname}"
        amazon = (parts.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))
        # An emulator's queues tell where it is; what AWS writes into a URL is never needed beyond the region.
        self.elsewhere = None if amazon else f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """Open a client for this queue."""
        async with self._aws.client(
            "sqs", region=region_of(self.url), endpoint_url=self.elsewhere, read_seconds=_PATIENCE_SECONDS
        ) as client:
            yield client

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Connect and yield what comes, in each group's order. Raises NotConnected and Refused; to be closed."""
        seconds = int(self._options.visibility)
        async with self.client() as client:
            lender = _Lender(client, self.url, self.name)
            async with (
                Leases(lender, self._site, seconds=seconds, most=self._options.max_in_flight) as leases,
                aclosing(leases.ahead(partial(self._receive, client, leases))) as messages,
            ):
                async for message in messages:
                    yield message

    async def _receive(self, client: Any, leases: Leases, *, first: bool) -> list[tuple[Message, Lease]]:
        """Poll long, but the first time: it tells whether the queue can be read."""
        await leases.room()
        since = self._site.monotonic()
        with told(f"reading queue {self.name}"):
            answer = await client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=AT_ONCE,
                WaitTimeSeconds=0 if first else LONG_POLL_SECONDS,
                VisibilityTimeout=int(self._options.visibility),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        _checked(answer, self.name)
        try:
            received = [_message(one) for one in answer.get("Messages", ())]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotConnected(
                f"queue {self.name}: the answer is none of SQS ({type(error).__name__})", reason="protocol"
            ) from error
        taken = []
        given = max(since, self._site.monotonic() - _LATE * self._options.visibility)
        for one in received:
            lease = leases.take(one.handle, since=given, group=one.group, size_bytes=len(one.body))
            taken.append((replace(one, ack=partial(leases.done, lease)), lease))
        again = sum(one.received_count > 1 for one in received)
        if again:
            self._site.note("redelivered", again)
        if not taken and not first and self._site.monotonic() - since < _SLOWEST_EMPTY_SECONDS:
            await self._site.sleep(_SLOWEST_EMPTY_SECONDS)  # an emulator that knows no long polls
        return taken


class _Lender:
    """SQS, as connectors.base.services.leases asks it."""

    at_once = AT_ONCE

    def __init__(self, client: Any, url: str, name: str) -> None:
        self._client, self._url, self._name = client, url, name

    async def settle(self, handles: Sequence[str]) -> Mapping[str, Failed]:
        entries = [{"Id": str(at), "ReceiptHandle": handle} for at, handle in enumerate(handles)]
        with told(f"deleting messages of queue {self._name}"):
            answer = await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return self._failed(handles, answer)

    async def extend(self, handles: Sequence[str], seconds: int) -> Mapping[str, Failed]:
        entries = [
            {"Id": str(at), "ReceiptHandle": handle, "VisibilityTimeout": seconds} for at, handle in enumerate(handles)
        ]
        with told(f"extending leases of queue {self._name}"):
            answer = await self._client.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
        return self._failed(handles, answer)

    def _failed(self, handles: Sequence[str], answer: Any) -> Mapping[str, Failed]:
        """What is the handle's fault is final: it has expired, or the message was hidden for 12 hours."""
        _checked(answer, self._name)
        try:
            return {
                handles[int(one["Id"])]: Failed.LOST if one.get("SenderFault", True) else Failed.AGAIN
                for one in answer.get("Failed", ())
            }
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _no_answer(self._name) from error


def _checked(answer: Any, name: str) -> None:
    """Notice a page that is no answer of SQS, such as that of a proxy: botocore reads it as an empty one."""
    if not isinstance(answer, dict):  # JSON's null is one to botocore
        raise _no_answer(name)
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if "json" not in headers.get("content-type", ""):
        raise _no_answer(name)


def _no_answer(name: str) -> NotConnected:
    return NotConnected(f"queue {name}: the answer is none of SQS", reason="protocol")


def _message(one: Any) -> Message:
    """Read one message. Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
    system, body = one.get("Attributes", {}), one["Body"]
    group, deduplication = system.get("MessageGroupId"), system.get("MessageDeduplicationId")
    handle, identity = one["ReceiptHandle"], one["MessageId"]
    if not (isinstance(handle, str) and isinstance(identity, str) and isinstance(body, str)):
        raise TypeError
    if deduplication is not None and _CONTENT_HASH.fullmatch(deduplication) is None:
        identity = f"{group}/{deduplication}"
    return Message(
        handle=handle,
        id=identity,
        message_id=one["MessageId"],
        body=body.encode(errors="replace").decode(),  # JSON may have halves of characters
        attributes={name: _attribute(value) for name, value in sorted(one.get("MessageAttributes", {}).items())},
        group=group,
        sent_at=_moment(system.get("SentTimestamp")),
        received_count=int(system.get("ApproximateReceiveCount", 1)),
        ack=_nothing,
    )


async def _nothing() -> None:
    """The acknowledgement of a message without a lease."""


def _attribute(value: Any) -> Any:
    binary = value.get("BinaryValue")
    return value.get("StringValue", "") if binary is None else base64.b64encode(binary).decode("ascii")


def _moment(milliseconds: str | None) -> datetime | None:
    """Return a time; None beyond all times. Raises ValueError for what is none."""
    try:
        return None if milliseconds is None else datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (OverflowError, OSError):
        return None

"""Reads a bucket in one of two ways: a queue of notifications, or a listing at intervals."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from functools import partial
from typing import Any, Final, Self

from pydantic import model_validator

from connectors.base import contract
from connectors.base.contract import Ack, Delivery, Item, NotConnected, Received, Unreadable
from connectors.base.options import Field, Seconds, Url
from connectors.base.services.aws import Aws, told
from connectors.base.services.contents import Content, ContentOptions, Omitted, content_of
from connectors.base.services.envelopes import Unwrap, unwrapped
from connectors.base.services.listing import Change, Entry, Looking
from connectors.base.services.sqs import Message, Queue, QueueOptions
from connectors.s3.notifications import NotANotification, Notification, parse

EXAMPLE: Final[dict[str, Any]] = {
    "mode": "queue",
    "queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/uploads",
    "prefix": "incoming/",
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE

PAGE: Final = 1000


class Mode(StrEnum):
    """How a source learns of changes."""

    QUEUE = "queue"
    LIST = "list"


class Order(StrEnum):
    """What is known of the order of names."""

    ANY = "any"
    GROWING = "growing"
    """Each new object has a name after all others, such as one that begins with the time."""


class Config(ContentOptions, QueueOptions):
    """The options of an `s3` source."""

    mode: Mode = Field(
        description="`queue`: read notifications that the bucket sends to an SQS queue, also through SNS or "
        "EventBridge; `list`: list the bucket at intervals: up to 120,000 objects with random names, or 600,000 with "
        "numbered ones."
    )
    queue_url: Url | None = Field(default=None, description="URL of the queue; for `mode: queue`.")
    bucket: str | None = Field(
        default=None,
        min_length=3,
        max_length=255,
        description="Name of the bucket; for `mode: list`. With `mode: queue` those of other buckets are skipped.",
    )
    prefix: str = Field(default="", max_length=1024, description="Only objects whose keys begin so.")
    interval: Seconds = Field(default=60, description="Time between two looks; for `mode: list`.")
    emit_existing: bool = Field(
        default=False,
        description="Make events of the objects that the very first look finds. Otherwise it only notes them; for "
        "`mode: list`.",
    )
    order: Order = Field(
        default=Order.ANY,
        description="`growing`: every new key comes after all others, so that only what comes after the last one is "
        "listed: any number of objects, but neither updates nor deletions; for `mode: list`.",
    )

    @model_validator(mode="after")
    def _what_the_mode_needs(self) -> Self:
        if self.mode is Mode.QUEUE and self.queue_url is None:
            raise ValueError("mode: queue needs queue_url")
        if self.mode is Mode.LIST and self.bucket is None:
            raise ValueError("mode: list needs bucket")
        return self


class Source:
    """Reads one bucket."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._aws = Aws(config, site)
        self._queue = None if config.queue_url is None else Queue(config, config.queue_url, site)

    async def read(self) -> AsyncIterator[Item]:
        """Yield what was created, updated or deleted."""
        config = self._config
        async with AsyncExitStack() as stack:
            client = None
            if config.mode is Mode.LIST or config.content is not Content.NONE:
                client = await stack.enter_async_context(self._aws.client("s3"))
            if config.mode is Mode.LIST:
                bucket = _Bucket(client=client, config=config, name=str(config.bucket))
                looking = Looking(
                    bucket=bucket, site=self._site, interval_seconds=config.interval, existing=config.emit_existing
                )
                items = looking.later() if config.order is Order.GROWING else looking.changes()
            else:
                items = self._notified(client)
            async for item in await stack.enter_async_context(aclosing(items)):
                yield item

    async def _notified(self, client: Any) -> AsyncGenerator[Item, None]:
        assert self._queue is not None
        async with aclosing(self._queue.messages()) as messages:
            async for message in messages:
                try:
                    told_of = parse(unwrapped(message, Unwrap.AUTO).body)
                except NotANotification as error:
                    raw = message.body.encode()
                    yield Unreadable(id=message.id, reason=str(error), raw=raw, ack=message.ack)
                    continue
                wanted = [one for one in told_of if self._wants(one)]
                if not wanted:
                    self._site.note("skipped")
                    await message.ack()
                ack = _after(len(wanted), message.ack)
                for one in wanted:
                    yield await self._event(client, one, message, ack)

    def _wants(self, one: Notification) -> bool:
        config = self._config
        return (
            config.bucket in (None, one.bucket)
            and one.key.startswith(config.prefix)
            and not (one.key.endswith("/") and not one.size_bytes)
        )

    async def _event(self, client: Any, one: Notification, message: Message, ack: Ack) -> Received:
        data: dict[str, Any] = {"bucket": one.bucket, "key": one.key}
        more = {
            "size_bytes": one.size_bytes,
            "etag": one.etag,
            "version_id": one.version_id,
            "sequencer": one.sequencer,
            "event": one.event,
            "event_time": one.at,
            "received_count": message.received_count,
        }
        data.update({name: value for name, value in more.items() if value is not None})
        if one.change is not Change.DELETE:
            which = {"VersionId": one.version_id} if one.version_id else {"IfMatch": one.etag} if one.etag else {}
            fetch = partial(fetched, client, one.bucket, one.key, which)
            data.update(await content_of(self._config, one.size_bytes, fetch))
        return Received(id=one.id, event_type=one.change, data=data, key=one.key, created_at=one.happened_at, ack=ack)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """A bucket that is listed: connectors.base.services.listing.Bucket."""

    client: Any
    config: Config
    name: str

    @property
    def of(self) -> str:
        return f"{self.name}/{self.config.prefix}"

    async def pages(self, after: str | None) -> AsyncIterator[Sequence[Entry]]:
        more: dict[str, str] = {} if after is None else {"StartAfter": after}
        while True:
            with told(f"listing bucket {self.name!r}"):
                answer = await self.client.list_objects_v2(
                    Bucket=self.name, Prefix=self.config.prefix, MaxKeys=PAGE, **more
                )
            try:
                page = [self._entry(one) for one in answer.get("Contents", ()) if not _marks_a_folder(one)]
            except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
                message = f"listing bucket {self.name!r}: the answer is none of S3 ({type(error).__name__})"
                raise NotConnected(message, reason="protocol") from error
            yield page
            if not answer.get("IsTruncated"):
                return
            if not answer.get("NextContinuationToken"):
                raise NotConnected(
                    f"listing bucket {self.name!r}: a page says there are more, not how", reason="protocol"
                )
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    async def event(self, change: Change, entry: Entry) -> Received:
        fetch = partial(fetched, self.client, self.name, entry.key, {"IfMatch": entry.about["etag"]})
        content = await content_of(self.config, entry.size_bytes, fetch)
        return Received(
            id=f"{self.name}/{entry.key}@{entry.version}",
            event_type=change,
            data={**entry.about, **content},
            key=entry.key,
            created_at=entry.changed_at,
        )

    def gone(self, key: str, version: str) -> Received:
        return Received(
            id=f"{self.name}/{key}@{version}!deleted",
            event_type=Change.DELETE,
            data={"bucket": self.name, "key": key},
            key=key,
        )

    def _entry(self, one: Any) -> Entry:
        etag, changed_at = one.get("ETag", "").strip('"'), one["LastModified"].astimezone(UTC)
        at = changed_at.isoformat().replace("+00:00", "Z")
        about = {"bucket": self.name, "key": one["Key"], "size_bytes": one["Size"], "etag": etag, "modified": at}
        return Entry(key=one["Key"], version=f"{etag}@{at}", size_bytes=one["Size"], changed_at=changed_at, about=about)


async def fetched(client: Any, bucket: str, key: str, which: Mapping[str, str], most_bytes: int) -> bytes:
    """Return what is in one version of an object, so many bytes at most. Raises Omitted when it is not there."""
    from aiohttp import ClientError
    from botocore.exceptions import ClientError as Answered

    with told(f"reading an object of bucket {bucket!r}"):
        try:
            answer = await client.get_object(Bucket=bucket, Key=key, **which)
        except Answered as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status in (404, 405, 412):
                raise Omitted("changed") from None
            if error.response.get("Error", {}).get("Code") == "InvalidObjectState":
                raise Omitted("archived") from None
            raise
        try:
            found = b""
            async with answer["Body"] as body:
                while len(found) < most_bytes and (chunk := await body.read(most_bytes - len(found))):
                    found += chunk
            return found
        except ClientError as error:
            raise NotConnected(f"reading an object of bucket {bucket!r}: it broke off", reason="closed") from error


def _marks_a_folder(one: Any) -> bool:
    return bool(one["Key"].endswith("/")) and not one["Size"]


def _after(count: int, ack: Ack) -> Ack:
    """Return an acknowledgement for each of several events of one message: the last one called is the message's."""
    left = count

    async def one_less() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            await ack()

    return one_less

"""Reads a bucket in one of two ways: a subscription of notifications, or a listing at intervals."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from operator import attrgetter
from typing import Any, Final, Self
from urllib.parse import quote

import orjson
from pydantic import model_validator

from connectors.base import contract
from connectors.base.contract import Delivery, Item, NotConnected, Received, Unreadable
from connectors.base.options import Field, Seconds, Url
from connectors.base.services.contents import ContentOptions, Omitted, content_of
from connectors.base.services.google import Google, Reply
from connectors.base.services.listing import Change, Entry, Looking
from connectors.base.services.pubsub import Message, Subscription, SubscriptionName, SubscriptionOptions
from connectors.gcs.notifications import NotANotification, Notification, parse

EXAMPLE: Final[dict[str, Any]] = {
    "mode": "list",
    "bucket": "my-uploads",
    "prefix": "incoming/",
    "credentials": "{{ env.GOOGLE_CREDENTIALS }}",
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE

SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
URL: Final = "https://storage.googleapis.com"
PAGE: Final = 1000
_SHOWN: Final = {
    "metageneration": "metageneration",
    "contentType": "content_type",
    "md5Hash": "md5_hash",
    "updated": "modified",
}
_FIELDS: Final = "nextPageToken,items(name,generation,metageneration,size,contentType,md5Hash,updated)"


class Mode(StrEnum):
    """How a source learns of changes."""

    QUEUE = "queue"
    LIST = "list"


class Order(StrEnum):
    """What is known of the order of names."""

    ANY = "any"
    GROWING = "growing"
    """Each new object has a name after all others, such as one that begins with the time."""


class Config(ContentOptions, SubscriptionOptions):
    """The options of a `gcs` source."""

    mode: Mode = Field(
        description="`queue`: read notifications that the bucket sends to a Pub/Sub topic; `list`: list the bucket at "
        "intervals: up to 120,000 objects with random names, or 600,000 with numbered ones."
    )
    subscription: SubscriptionName | None = Field(
        default=None,
        description="Full name of a subscription to the topic, one that is pulled: "
        "`projects/my-project/subscriptions/uploads`; for `mode: queue`.",
    )
    bucket: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$",
        description="Name of the bucket; for `mode: list`. With `mode: queue` those of other buckets are skipped.",
    )
    prefix: str = Field(default="", max_length=1024, description="Only objects whose names begin so.")
    interval: Seconds = Field(default=60, description="Time between two looks; for `mode: list`.")
    emit_existing: bool = Field(
        default=False,
        description="Make events of the objects that the very first look finds. Otherwise it only notes them; for "
        "`mode: list`.",
    )
    order: Order = Field(
        default=Order.ANY,
        description="`growing`: every new name comes after all others, so that only what comes after the last one is "
        "listed: any number of objects, but neither updates nor deletions; for `mode: list`.",
    )
    pubsub_endpoint_url: Url | None = Field(
        default=None, description="Another address than Google's for the subscription, of an emulator, say."
    )

    @model_validator(mode="after")
    def _what_the_mode_needs(self) -> Self:
        if self.mode is Mode.QUEUE and self.subscription is None:
            raise ValueError("mode: queue needs subscription")
        if self.mode is Mode.LIST and self.bucket is None:
            raise ValueError("mode: list needs bucket")
        return self


class Source:
    """Reads one bucket."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._google = Google(config, site, scope=SCOPE, url=config.endpoint_url or URL)

    async def read(self) -> AsyncIterator[Item]:
        """Yield what was created, updated or deleted."""
        config = self._config
        if config.mode is Mode.LIST:
            bucket = _Bucket(google=self._google, config=config, name=str(config.bucket))
            looking = Looking(
                bucket=bucket, site=self._site, interval_seconds=config.interval, existing=config.emit_existing
            )
            items = looking.later() if config.order is Order.GROWING else looking.changes()
        else:
            items = self._notified(str(config.subscription))
        async with aclosing(items):
            async for item in items:
                yield item

    async def _notified(self, name: str) -> AsyncGenerator[Item, None]:
        subscription = Subscription(self._config, name, self._site, endpoint_url=self._config.pubsub_endpoint_url)
        async with aclosing(subscription.messages()) as messages:
            async for message in messages:
                about = _object(message.data)
                try:
                    found = parse(message.attributes, about)
                except NotANotification as error:
                    yield Unreadable(id=message.id, reason=str(error), raw=message.data, ack=message.ack)
                    continue
                if found is None or not self._wants(found):
                    self._site.note("skipped")
                    await message.ack()
                else:
                    yield await self._event(found, about, message)

    def _wants(self, one: Notification) -> bool:
        config = self._config
        return config.bucket in (None, one.bucket) and one.key.startswith(config.prefix) and not one.key.endswith("/")

    async def _event(self, one: Notification, about: Mapping[str, Any], message: Message) -> Received:
        data = {"bucket": one.bucket, "key": one.key, "generation": one.generation, **_said(about), "event": one.event}
        if one.change is not Change.DELETE:
            fetch = partial(fetched, self._google, one.bucket, one.key, one.generation)
            data.update(await content_of(self._config, data.get("size_bytes"), fetch))
        return Received(
            id=one.id,
            event_type=one.change,
            data=data,
            key=one.key,
            created_at=message.published_at,
            ack=message.ack,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bucket:
    """A bucket that is listed: connectors.base.services.listing.Bucket."""

    google: Google
    config: Config
    name: str

    @property
    def of(self) -> str:
        return f"{self.name}/{self.config.prefix}"

    async def pages(self, after: str | None) -> AsyncIterator[Sequence[Entry]]:
        doing = f"listing bucket {self.name!r}"
        query = {"maxResults": str(PAGE), "prefix": self.config.prefix, "fields": _FIELDS}
        if after is not None:
            query["startOffset"] = after
        while True:
            answer = await self.google.call("GET", f"/storage/v1/b/{quote(self.name)}/o", query=query, doing=doing)
            try:
                page = sorted((self._entry(one) for one in answer.get("items", ())), key=attrgetter("key"))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise NotConnected(f"{doing}: the answer is none of Cloud Storage", reason="protocol") from error
            # What startOffset names is listed, too; and names that end so are no objects but folders of a browser.
            yield [one for one in page if (after is None or one.key > after) and not one.key.endswith("/")]
            token = answer.get("nextPageToken")
            if not token:
                return
            if not isinstance(token, str):
                raise NotConnected(f"{doing}: the answer is none of Cloud Storage", reason="protocol")
            query["pageToken"] = token

    async def event(self, change: Change, entry: Entry) -> Received:
        fetch = partial(fetched, self.google, self.name, entry.key, entry.about["generation"])
        content = await content_of(self.config, entry.size_bytes, fetch)
        return Received(
            id=f"{self.name}/{entry.key}#{entry.version}",
            event_type=change,
            data={**entry.about, **content},
            key=entry.key,
            created_at=entry.changed_at,
        )

    def gone(self, key: str, version: str) -> Received:
        return Received(
            id=f"{self.name}/{key}#{version}!deleted",
            event_type=Change.DELETE,
            data={"bucket": self.name, "key": key},
            key=key,
        )

    def _entry(self, one: Mapping[str, Any]) -> Entry:
        key, generation, metageneration = one["name"], one["generation"], one.get("metageneration", 1)
        if not (isinstance(key, str) and isinstance(generation, str | int) and isinstance(metageneration, str | int)):
            raise TypeError
        generation = str(generation)
        about = {"bucket": self.name, "key": key, "generation": generation, **_said(one)}
        return Entry(
            key=key,
            version=f"{generation}.{metageneration}",
            size_bytes=about.get("size_bytes", 0),
            changed_at=_moment(one.get("updated")),
            about=about,
        )


async def fetched(google: Google, bucket: str, key: str, generation: str, most_bytes: int) -> bytes:
    """Return what is in one generation of an object, so many bytes at most. Raises Omitted when it is not there."""
    doing = f"reading an object of bucket {bucket!r}"
    path = f"/storage/v1/b/{quote(bucket)}/o/{quote(key, safe='')}"
    found = await google.bytes_of(
        path, query={"alt": "media", "generation": generation}, most_bytes=most_bytes, doing=doing
    )
    if isinstance(found, Reply):
        if found.status == 404:
            raise Omitted("changed")
        raise found.failure(doing)
    return found


def _said(about: Mapping[str, Any]) -> dict[str, Any]:
    """What an object's resource says of it."""
    found: dict[str, Any] = {}
    size = about.get("size")
    if isinstance(size, str | int) and str(size).isdecimal() and len(str(size)) < 20:
        found["size_bytes"] = int(size)
    for name, shown in _SHOWN.items():
        if isinstance(value := about.get(name), str | int):
            found[shown] = str(value)
    return found


def _object(data: bytes) -> Mapping[str, Any]:
    """The payload of a notification; it may have none."""
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _moment(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if isinstance(text, str) else None
        return None if found is None or found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None

"""Streams of Redis through a consumer group: acknowledged once the broker has the event, recovered where an owner died.

Modules: `entries` makes events, `group` has the commands, `link` connects.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, Final

from pydantic import field_validator

from connectors.base import contract
from connectors.base.contract import Ack, Delivery, Received, Site, Unreadable
from connectors.base.options import Field, Options, Seconds, SecretStr
from connectors.redis import entries, link
from connectors.redis.entries import Entry, Form, Values
from connectors.redis.group import Group, Page
from connectors.redis.link import GroupMissing, Server

EXAMPLE: Final[dict[str, Any]] = {
    "url": "rediss://redis.example.com:6379/0",
    "password": "{{ env.REDIS_PASSWORD }}",
    "streams": ["orders"],
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE
EMITS: Final = """\
the name of the stream, or what `type_field` of the entry says. The data is an object of the entry's fields, or the
JSON of its `data_field`. The key is its `key_field`."""

_ACKS_AT_ONCE: Final = 500
_LAST_ACKS_SECONDS: Final = 5.0
_HELD_PER_CLAIM: Final = 3
"""How often entries in work are held while others would have to wait before they may claim them."""

StreamName = Annotated[str, Field(min_length=1, max_length=512)]


class Config(Options):
    """Options of kind `redis`. It takes one server of Redis 6.2 or later, not a cluster of several nodes."""

    url: SecretStr = Field(
        description="Server and database: redis://host:6379/0, or rediss:// for TLS. May hold username and password."
    )
    username: str | None = Field(default=None, description="User of Redis' access control list; wins over the url's.")
    password: SecretStr | None = Field(default=None, description="Password; wins over the url's.")
    ca_file: str | None = Field(default=None, description="File of further certificates to trust with rediss.")
    streams: list[StreamName] = Field(min_length=1, max_length=100, description="Keys of the streams to read.")
    group: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Consumer group. Default: `headgate-` and the source's id, so that each source reads everything.",
    )
    consumer: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Whose pending entries are taken over at once when the owner changes. Default: the source's id. "
        "Several installations that share a group need different ones.",
    )
    start: str = Field(
        default="0",
        pattern=r"^(?:\$|\d{1,20}(?:-\d{1,20})?)$",
        description="Where a new group begins: 0 is everything that is there, $ what comes from now on, or an id.",
    )
    batch: int = Field(default=100, ge=1, le=10_000, description="Entries asked for at once, per stream.")
    block: Seconds = Field(default=5.0, le=300, description="How long the server waits for entries before it answers.")
    claim_idle: Seconds = Field(
        default=300.0,
        ge=1,
        description="Pending entries of any consumer of the group are claimed after so long without a sign of life. "
        "Those in work here give signs, however long the work takes.",
    )
    max_deliveries: int | None = Field(
        default=20,
        ge=1,
        description="An entry that was delivered more often becomes a dead letter: it may be what ends its readers. "
        "null for no limit.",
    )
    data_field: str | None = Field(
        default=None, description="Field whose value is JSON and becomes the data. Default: an object of all fields."
    )
    type_field: str | None = Field(
        default=None, description="Field that has the event's type. Default: the stream's key."
    )
    key_field: str | None = Field(default=None, description="Field that has the event's key.")
    values: Values = Field(
        default=Values.TEXT,
        description="Values of fields: `text` is UTF-8, `base64` takes any bytes. Not for data_field.",
    )

    @field_validator("url")
    @classmethod
    def _url_is_one(cls, url: SecretStr) -> SecretStr:
        Server.parse(url.get_secret_value())
        return url


class Source:
    """At-least-once: the id is the stream's key and the entry's id, the same for whoever gets the entry again."""

    def __init__(self, config: Config, site: Site) -> None:
        self._config, self._site = config, site
        self._server = Server.parse(
            config.url.get_secret_value(),
            username=config.username,
            password=None if config.password is None else config.password.get_secret_value(),
            ca_file=config.ca_file,
        )
        self._form = Form(
            values=config.values,
            data_field=config.data_field,
            type_field=config.type_field,
            key_field=config.key_field,
        )
        self._consumer: str | None = None
        self._in_work: set[tuple[str, str]] = set()
        """What was yielded on this connection and is not acknowledged."""
        self._acknowledged: defaultdict[str, list[str]] = defaultdict(list)
        """What has to be told to the server: it outlives a connection, for the next one begins with it."""
        self._to_tell = asyncio.Event()

    async def read(self) -> AsyncIterator[contract.Item]:
        """Yield what was left pending, then what comes."""
        if self._consumer is None:  # once per owner: names that change with each connection would pile up
            self._consumer = f"{self._site.epoch}@{self._config.consumer or self._site.instance_id}"
        connection = await link.connect(self._server, self._site, wait_seconds=self._config.block)
        group = Group(connection, name=self._group_name, consumer=self._consumer)
        self._in_work.clear()  # all of it comes again
        tasks: list[asyncio.Task[None]] = []
        try:
            for stream in self._config.streams:
                await self._begin(group, stream)
            self._site.connected()
            tasks += [asyncio.create_task(self._tell(group)), asyncio.create_task(self._hold(group))]
            for stream in self._config.streams:
                async for item in self._own(group, stream):
                    yield item
            claims = self._site.monotonic()
            looks = claims + self._config.block
            while True:
                _raise_failed(tasks)
                if self._site.monotonic() >= looks:
                    for stream in self._config.streams:
                        async for item in self._left(group, stream):
                            yield item
                    looks = self._site.monotonic() + self._config.block
                if self._site.monotonic() >= claims:
                    for stream in self._config.streams:
                        async for item in self._claimed(group, stream):
                            yield item
                    claims = self._site.monotonic() + self._config.claim_idle / 2
                for item in self._items(await self._new(group)):
                    yield item
        except GroupMissing as error:
            text = f"a stream of source {self._site.instance_id!r} was deleted just now ({error}); it is created again"
            raise contract.NotConnected(text, reason="group_missing") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(contract.NotConnected, contract.Refused, GroupMissing, TimeoutError):
                async with asyncio.timeout(_LAST_ACKS_SECONDS):
                    await self._tell_now(group)
            await connection.close()

    @property
    def _group_name(self) -> str:
        return self._config.group or f"headgate-{self._site.instance_id}"

    async def _begin(self, group: Group, stream: str) -> None:
        await group.create(stream, start=self._config.start)
        await self._tell_now(group)  # else they would be delivered again
        taken, missed = await group.take_over(stream)
        self._note("taken_over", taken)
        self._note("missed", missed)

    async def _own(self, group: Group, stream: str) -> AsyncIterator[contract.Item]:
        after = "0-0"
        try:
            while (page := await group.own(stream, after=after, count=self._config.batch)).after != after:
                for item in self._again(page):
                    yield item
                after = page.after
        except GroupMissing:
            await self._create_again(group)

    async def _left(self, group: Group, stream: str) -> AsyncIterator[contract.Item]:
        """Yield what former owners were given after this one took over: a server answers the read of a process that is
        dead or frozen until it knows.
        """
        try:
            taken, missed = await group.take_over(stream)
        except GroupMissing:
            await self._create_again(group)
            return
        self._note("taken_over", taken)
        self._note("missed", missed)
        if taken:
            async for item in self._own(group, stream):
                yield item

    async def _claimed(self, group: Group, stream: str) -> AsyncIterator[contract.Item]:
        after, config = "0-0", self._config
        try:
            while True:
                page = await group.claim(stream, idle_seconds=config.claim_idle, after=after, count=config.batch)
                self._note("claimed", len(page.entries))
                for item in self._again(page):
                    yield item
                after = page.after
                if after == "0-0":
                    return
        except GroupMissing:
            await self._create_again(group)

    async def _new(self, group: Group) -> list[Entry]:
        config = self._config
        try:
            return list(await group.new(config.streams, count=config.batch, block_seconds=config.block))
        except GroupMissing:
            await self._create_again(group)
            return []

    async def _create_again(self, group: Group) -> None:
        """A stream was deleted, or its server lost it: all that is in a new one is new, wherever `start` is."""
        for stream in self._config.streams:
            if await group.create(stream, start="0"):
                self._note("group_created_again", 1)
                self._site.say("redis_group_created_again", stream=stream, group=self._group_name)

    def _again(self, page: Page) -> Iterator[contract.Item]:
        self._note("missed", page.missed)
        fresh = [entry for entry in page.entries if (entry.stream, entry.id) not in self._in_work]
        self._note("redelivered", len(fresh))
        most = self._config.max_deliveries
        for entry in fresh:
            times = page.deliveries.get(entry.id, 1)
            if most is not None and times > most:
                self._note("poison", 1)
                reason = f"it was delivered {times} times and never acknowledged; max_deliveries is {most}"
                yield entries.unreadable(entry, reason, ack=self._ack(entry))
            else:
                yield self._item(entry)

    def _items(self, found: list[Entry]) -> Iterator[contract.Item]:
        return map(self._item, found)

    def _item(self, entry: Entry) -> Received | Unreadable:
        return entries.read(entry, self._form, now=self._site.now(), ack=self._ack(entry))

    def _ack(self, entry: Entry) -> Ack:
        self._in_work.add((entry.stream, entry.id))
        return partial(self._done, entry.stream, entry.id)

    async def _done(self, stream: str, entry_id: str) -> None:
        """Queue an acknowledgement: many are told in one command, and whatever is not told comes again."""
        self._in_work.discard((stream, entry_id))
        self._acknowledged[stream].append(entry_id)
        self._to_tell.set()

    async def _tell(self, group: Group) -> None:
        while True:
            await self._to_tell.wait()
            self._to_tell.clear()
            await self._tell_now(group)

    async def _tell_now(self, group: Group) -> None:
        for stream, waiting in list(self._acknowledged.items()):
            while ids := waiting[:_ACKS_AT_ONCE]:
                await group.acknowledge(stream, ids)
                del waiting[: len(ids)]

    async def _hold(self, group: Group) -> None:
        while True:
            await self._site.sleep(self._config.claim_idle / _HELD_PER_CLAIM)
            held: dict[str, list[str]] = {}
            for stream, entry_id in self._in_work:
                held.setdefault(stream, []).append(entry_id)
            for stream, ids in held.items():
                with suppress(GroupMissing):  # whoever reads notices as well, and creates it again
                    for begin in range(0, len(ids), _ACKS_AT_ONCE):
                        await group.hold(stream, ids[begin : begin + _ACKS_AT_ONCE])

    def _note(self, what: str, count: int) -> None:
        if count:
            self._site.note(what, count)


def _raise_failed(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        if task.done():
            task.result()

"""Polls one feed: asks with validators, tells what is new from what is known, and waits as long as both sides want.

The events of a poll come first and the position after them, so a crash between the two repeats events under their ids.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, model_validator

from connectors.base import contract
from connectors.base.contract import Delivery, Ended, Item, Moved, NotConnected, Received, Refused
from connectors.base.options import Field, Options, Seconds, SecretStr, Url
from connectors.rss import address, entries, jsonfeed, markup, memory
from connectors.rss.entries import Entry, Feed, NotAFeed
from connectors.rss.markup import TakesTooLong
from connectors.rss.memory import Memory

EXAMPLE: Final[dict[str, Any]] = {"url": "https://blog.python.org/feeds/posts/default", "interval": "15m"}
DELIVERY: Final = Delivery.EXACTLY_ONCE

EVENT_TYPE: Final = "new_item"
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
MOST_ASKED_SECONDS: Final = 86_400.0
"""A server that asks not to be polled for longer is asked once a day all the same: some say a year."""
PAUSE_SECONDS: Final = 60.0
"""Before a poll that a server has answered wrongly is repeated, unless the interval is shorter."""
JITTER: Final = 0.1
_MOST_JITTER_SECONDS: Final = 60.0
_ACCEPT: Final = (
    "application/feed+json, application/atom+xml, application/rss+xml, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.5"
)
_MAX_AGE: Final = re.compile(r'(?:^|[\s,])max-age="?(\d{1,10})', re.ASCII | re.IGNORECASE)
_LATER: Final = frozenset({408, 425, 429})
_CONDITIONS: Final = frozenset({"if-none-match", "if-modified-since"})


class Config(Options):
    """The options of an `rss` source."""

    model_config = ConfigDict(validate_by_name=True)

    url: Url = Field(description="Address of the feed: RSS, Atom or JSON Feed.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="Headers of the request, such as Authorization. They go to the server of `url` alone, and not to "
        "another one that the feed has moved to.",
    )
    interval: Seconds = Field(
        default=900.0,
        description="Pause between two polls, such as `15m`. It is longer where the feed asks for that "
        "(Cache-Control, ttl, Retry-After; a day at most), and a little longer by chance.",
    )
    immediate: bool = Field(
        default=True,
        description="Poll at once when the source starts. Otherwise the first poll comes after one interval, and what "
        "is published before it counts as there already.",
    )
    max_items: int | None = Field(
        default=None,
        ge=1,
        le=entries.MOST_ENTRIES,
        alias="maxItems",
        description="Most events of one poll, the oldest first; the others come with the next polls, none is left out. "
        "None: no limit.",
    )
    emit_existing: bool = Field(
        default=False,
        description="Make events of the entries that the first poll finds. Otherwise it only notes them.",
    )

    @model_validator(mode="after")
    def _conditions_are_ours(self) -> Self:
        for name in self.headers:
            if name.lower() in _CONDITIONS:
                raise ValueError(f"the header {name} is set by the source itself; leave it out")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """What a server answered well; `body` is None for 304."""

    url: str
    moved_to: str | None
    headers: Mapping[str, str]
    retry_after_seconds: float | None
    body: bytes | None


class Source:
    """Exactly once while an entry stays in the feed: one that comes and goes between two polls is never seen."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._memory: Memory | None = None
        self._moved: str | None = None
        self._due: float | None = None if config.immediate else site.monotonic() + config.interval
        self._ttl_seconds: float | None = None
        self._seen: bytes | None = None
        """Digest of the last body that left nothing to do."""
        self._is_whole = True
        """Whether the last feed that was read left no entry for the next poll."""

    async def read(self) -> AsyncIterator[Item]:
        """Poll for ever. Raises NotConnected, Refused, and Ended where the feed is gone for good (410)."""
        self._seen, self._memory = None, self._known()
        connected = False
        while True:
            if self._due is not None and (left := self._due - self._site.monotonic()) > 0:
                await self._site.sleep(left)
            items = await self._poll()
            if not connected:
                connected = True
                self._site.connected()
            for item in items:
                yield item

    # ---- one poll --------------------------------------------------------------------------------------------------

    async def _poll(self) -> list[Item]:
        """Return the events of a poll, and the position after them if it moved."""
        known = self._memory
        if known is not None and self._moved is None:
            self._moved = address.read(known.moved, self._config.url)
        try:
            answered, feed = await self._ask(known)
        except (Refused, Ended, NotConnected) as error:
            if self._moved is None or (isinstance(error, NotConnected) and error.reason.startswith("http_")):
                raise
            self._site.say("feed_asked_at_its_old_address", reason=str(error))
            self._moved = None
            answered, feed = await self._ask(known)
        self._move(answered)
        told, after = ([], known) if feed is None else self._told(known, feed)
        self._plan(answered)
        items: list[Item] = [_event(one) for one in told]
        if after is not None and (after := self._stamped(after, answered)) != known:
            self._memory = after
            items.append(Moved(position=after.position()))
        return items

    def _known(self) -> Memory | None:
        """Return what is known of the feed. After an edit of its address, validators and moves of before are void."""
        try:
            known = memory.read(self._site.position)
        except ValueError as error:
            message = f"the position of source {self._site.instance_id!r} cannot be read: {error}; give it a new id"
            raise Refused(message, reason="position") from error
        if known is not None and known.tag != address.tag(self._config.url):
            return replace(known, etag=None, last_modified=None, moved=None)
        return known

    async def _ask(self, known: Memory | None) -> tuple[_Answered, Feed | None]:
        """Return what the server answered, and the feed unless it is the same as before."""
        answered = await self._fetch(known)
        if answered.body is None or (digest := hashlib.sha256(answered.body).digest()) == self._seen:
            return answered, None
        try:
            feed = await self._parsed(answered)
        except NotAFeed as error:
            message = f"{self._who(answered.url)} answered with what is no feed: {error}"
            raise NotConnected(message, reason="not_a_feed", retry_after_seconds=self._patience()) from error
        self._seen = digest
        if feed.broken is not None:
            self._site.note("broken_feed")
        return answered, feed

    async def _fetch(self, known: Memory | None) -> _Answered:
        conditions = {}
        if known is not None and known.etag is not None:
            conditions["If-None-Match"] = known.etag
        if known is not None and known.last_modified is not None:
            conditions["If-Modified-Since"] = known.last_modified
        url = self._config.url if self._moved is None else address.with_user(self._moved, self._config.url)
        async with self._site.http.request("GET", url, headers=self._headers(url) | conditions) as answer:
            self._check(answer, conditional=bool(conditions))
            return _Answered(
                url=answer.url,
                moved_to=answer.moved_to,
                headers=answer.headers,
                retry_after_seconds=answer.retry_after(),
                body=None if answer.status == 304 else await answer.body(MAX_BODY_BYTES),
            )

    def _headers(self, url: str) -> dict[str, str]:
        """Return the headers that do not change; those of the options only for the server that they are meant for."""
        if not address.same_origin(url, self._config.url):
            return {"Accept": _ACCEPT}
        given = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        return given if any(name.lower() == "accept" for name in given) else {"Accept": _ACCEPT, **given}

    def _check(self, answer: contract.Answer, *, conditional: bool) -> None:
        """Raise for a status that brings no feed."""
        status = answer.status
        if 200 <= status < 300 or (status == 304 and conditional):
            return
        message = f"{self._who(answer.url)} answered with HTTP {status}"
        if status == 410:
            raise Ended(f"{message}: the feed is gone for good")
        if 400 <= status < 500 and status not in _LATER:
            what = "credentials" if status in (401, 403) else "address"
            raise Refused(f"{message}; check the {what}", reason=f"http_{status}")
        wait = max(answer.retry_after() or 0.0, self._patience())
        raise NotConnected(message, reason=f"http_{status}", retry_after_seconds=wait)

    async def _parsed(self, answered: _Answered) -> Feed:
        """Read a feed. Raises NotAFeed, and Refused for what takes too long."""
        body = answered.body or b""
        if jsonfeed.is_meant(body):
            return await self._in_thread(partial(jsonfeed.parse, body, address=answered.url))
        try:
            found = await markup.read(body, content_type=answered.headers.get("Content-Type", ""))
        except TakesTooLong:
            message = f"{self._who(answered.url)} sends a feed that takes longer than {markup.READ_SECONDS:g} s to read"
            raise Refused(message, reason="slow_feed") from None
        return await self._in_thread(partial(markup.made, found, address=answered.url))

    async def _in_thread(self, call: Callable[[], Feed]) -> Feed:
        feed: Feed = await self._site.in_thread(call)
        return feed

    # ---- what follows from it --------------------------------------------------------------------------------------

    def _told(self, known: Memory | None, feed: Feed) -> tuple[list[Entry], Memory | None]:
        """Return the entries that become events, and what is known after them; None where nothing is to be noted."""
        tag = address.tag(self._config.url)
        self._ttl_seconds = feed.ttl_seconds
        if known is None:
            before, first = Memory(tag=tag), True
        elif known.tag == tag:
            before, first = known, False
        elif not feed.entries:
            return [], None  # whether this is the feed of before at a new address, only entries can tell
        else:
            first = not known.knows_any(feed.entries)
            before = Memory(tag=tag) if first else replace(known, tag=tag)
        fresh = entries.oldest_first(before.fresh(feed.entries))
        if first and not self._config.emit_existing:
            fresh = []
        told = fresh[: self._config.max_items]
        self._is_whole = len(told) == len(fresh)
        return told, before.after(feed.entries, left=fresh[len(told) :])

    def _stamped(self, after: Memory, answered: _Answered) -> Memory:
        """Return it with the answer's validators, and with where the feed has moved to."""
        moved = None if self._moved is None else address.stored(self._moved, self._config.url)
        if answered.body is None:
            return replace(after, moved=moved)
        if not self._is_whole:  # entries are left: the next answer has to be whole again
            self._seen = None
            return replace(after, moved=moved, etag=None, last_modified=None)
        etag = memory.validator(answered.headers.get("ETag"))
        last_modified = memory.validator(answered.headers.get("Last-Modified"))
        return replace(after, moved=moved, etag=etag, last_modified=last_modified)

    def _move(self, answered: _Answered) -> None:
        """Ask where the feed has moved to from now on: it answered well there."""
        if answered.moved_to is not None:
            here = address.plain(self._config.url) == answered.moved_to
            self._moved = None if here else answered.moved_to

    def _plan(self, answered: _Answered) -> None:
        """Set when to poll next: not before the source, the server and the feed want it."""
        age = _MAX_AGE.search(answered.headers.get("Cache-Control", ""))
        wishes = (0.0 if age is None else float(age[1]), self._ttl_seconds, answered.retry_after_seconds)
        asked = min(max(wish or 0.0 for wish in wishes), MOST_ASKED_SECONDS)
        pause = max(self._config.interval, asked)
        pause += self._site.random() * min(JITTER * pause, _MOST_JITTER_SECONDS)
        self._due = self._site.monotonic() + pause

    def _patience(self) -> float:
        return min(self._config.interval, PAUSE_SECONDS)

    def _who(self, url: str) -> str:
        """Name the source and the host: more of the address may be secret."""
        return f"source {self._site.instance_id!r}: {urlsplit(url).hostname}"


def _event(entry: Entry) -> Received:
    return Received(id=entry.id, event_type=EVENT_TYPE, data=entry.data, created_at=entry.published or entry.updated)

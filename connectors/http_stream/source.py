"""Reads one event stream: connects with the last event id that is durable, yields events, says when to connect again.

The position is the last event id: with a server that replays from it nothing is lost or doubled; what others send while
nobody listens is lost. An event without an id of its own is told apart by connection and number alone.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import model_validator

from connectors.base import contract
from connectors.base.contract import Answer, Delivery, Ended, Item, Moved, NotConnected, Received, Refused, Unreadable
from connectors.base.options import Field, Options, Seconds, SecretStr, Url
from connectors.http_stream import parser
from connectors.http_stream.parser import Event, Parser, TooLarge

EXAMPLE: Final[dict[str, Any]] = {
    "url": "https://stream.example.com/prices",
    "headers": {"Authorization": "Bearer {{ env.STREAM_TOKEN }}"},
    "events": ["price"],
}
DELIVERY: Final = Delivery.EXACTLY_ONCE

MOST_RETRY_SECONDS: Final = 3600.0
"""A server that asks to be left alone for longer is asked once an hour all the same."""
MOST_BACKOFF_SECONDS: Final = 60.0
STEADY_SECONDS: Final = 60.0
"""A link that lived so long, or that delivered an event, was good: only the pause of the server follows it."""
MOST_ID_BYTES: Final = 4096
"""Longer ids are not sent back: servers refuse requests with headers of some kilobytes for ever."""
_MIME: Final = "text/event-stream"
_LATER: Final = frozenset({408, 425, 429})
_SENDABLE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


class Config(Options):
    """The options of an `http-stream` source."""

    url: Url = Field(description="Address of the stream.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Headers of the request, such as Authorization."
    )
    method: Literal["GET", "POST"] = Field(default="GET", description="GET, as the standard has it, or POST.")
    body: Any = Field(default=None, description="JSON that is sent along; with POST only.")
    events: list[str] | None = Field(
        default=None,
        min_length=1,
        description="Types of events to take, `message` being that of events without one. None: all.",
    )
    data: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="How data is read: `auto`: as JSON if it is JSON, else as text; `json`: what is no JSON becomes a "
        "dead letter; `text`: as it is.",
    )
    last_event_id: str = Field(
        default="",
        max_length=MOST_ID_BYTES,
        description="Id of the last event that is known already: sent with the very first request.",
    )
    idle_timeout: Seconds = Field(
        default=60.0,
        description="So long nothing may come, not even a comment, before the stream is connected anew.",
    )
    max_event_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        le=64 * 1024 * 1024,
        description="Most bytes of the data of one event; a larger one becomes a dead letter with its beginning.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Config":
        if self.body is not None and self.method == "GET":
            raise ValueError("a body is sent with `method: POST` only; change the method, or leave the body out")
        if any(name.lower() == "last-event-id" for name in self.headers):
            raise ValueError("Last-Event-ID is sent by the source itself; where to begin is `last_event_id`")
        return self


class Source:
    """Exactly once where the server sends again what followed the id that it is given; else best effort."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._taken = None if config.events is None else frozenset(config.events)
        parts = urlsplit(config.url)
        self._stream = hashlib.blake2b(f"{parts.hostname}{parts.path}".encode(), digest_size=8).hexdigest()
        """Names the stream: another one knows nothing of the ids of this one. Tokens in the query do not matter."""
        self._failures = 0

    async def read(self) -> AsyncIterator[Item]:
        """Connect, and yield what comes. Raises NotConnected at its end, Ended for 204, Refused for no stream."""
        last_event_id, retry_ms = self._stored()
        connected_at: float | None = None
        reading = Parser(last_event_id=last_event_id, max_event_bytes=self._config.max_event_bytes)
        reading.retry_ms = retry_ms
        config = self._config
        try:
            async with self._site.http.request(
                config.method,
                config.url,
                headers=self._headers(last_event_id),
                json=config.body if config.method == "POST" else None,
                timeout_seconds=None,
                idle_seconds=config.idle_timeout,
            ) as answer:
                self._check(answer)
                self._site.connected()
                connected_at = self._site.monotonic()
                async for item in self._items(answer, reading):
                    yield item
                raise NotConnected(f"{_host(answer.url)} ended the stream", reason="ended")
        except NotConnected as error:
            if connected_at is not None and self._site.monotonic() - connected_at >= STEADY_SECONDS:
                self._failures = 0
            if error.retry_after_seconds is None:
                error.retry_after_seconds = self._pause_seconds(reading.retry_ms)
            self._failures += 1
            raise

    # ---- the request -----------------------------------------------------------------------------------------------

    def _headers(self, last_event_id: str) -> Mapping[str, str]:
        headers = {"Accept": _MIME, "Cache-Control": "no-store"}
        if last_event_id:
            if _SENDABLE.fullmatch(last_event_id) and len(last_event_id.encode()) <= MOST_ID_BYTES:
                headers["Last-Event-ID"] = last_event_id
            else:
                self._site.note("missed")
                self._site.say("stream_goes_on_from_now", problem="no header can hold the last event id")
        given = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        names = {name.lower() for name in given}
        return {name: value for name, value in headers.items() if name.lower() not in names} | given

    def _check(self, answer: Answer) -> None:
        """Raise what the status says, unless it is a stream."""
        status, where = answer.status, _host(answer.url)
        if status == 204:
            raise Ended(f"{where} answered 204: there will be no more")
        if status in _LATER or status >= 500:
            raise NotConnected(
                f"{where} answered HTTP {status}", reason=f"http_{status}", retry_after_seconds=answer.retry_after()
            )
        if status in (401, 403):
            raise Refused(f"{where} answered HTTP {status}; check the credentials", reason="unauthorized")
        if status != 200:
            raise Refused(f"{where} answered HTTP {status}; check the URL", reason=f"http_{status}")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        if kind.lower() != _MIME:
            shown = f"is {kind[:80]!r}" if kind else "has no type"
            raise Refused(f"what {where} answered {shown}, not {_MIME}; check the URL", reason="no_stream")

    def _pause_seconds(self, retry_ms: int | None) -> float | None:
        """Return the pause that the server asked for, longer by chance where it was of no use; None: it did not."""
        if retry_ms is None:
            return None
        longest = 0.0 if self._failures == 0 else min(MOST_BACKOFF_SECONDS, 2.0 ** min(self._failures, 10))
        return min(retry_ms / 1000, MOST_RETRY_SECONDS) + longest * self._site.random()

    # ---- events ----------------------------------------------------------------------------------------------------

    async def _items(self, answer: Answer, reading: Parser) -> AsyncIterator[Item]:
        number, stored, previous = 0, self._site.position, None
        async for chunk in answer.chunks():
            for block in reading.feed(chunk):
                position = {"id": block.last_event_id, "retry": reading.retry_ms, "stream": self._stream}
                if isinstance(block, parser.Moved) or not self._takes(block):
                    if position != stored:
                        yield Moved(position=position)
                else:
                    number, self._failures = number + 1, 0
                    own = block.own_id
                    # An id that comes again at once tells nothing apart: some servers give the same one to all.
                    name = f"{self._site.epoch}/{number}" if own is None or own == previous else own
                    previous = own
                    yield self._item(block, name, position)
                stored = position

    def _takes(self, block: Event | TooLarge) -> bool:
        if self._taken is None or block.event_type in self._taken:
            return True
        self._site.note("not_taken")
        return False

    def _item(self, block: Event | TooLarge, name: str, position: Any) -> Item:
        if isinstance(block, TooLarge):
            most = self._config.max_event_bytes
            reason = f"its data has {block.size_bytes} bytes, {most} are allowed (option max_event_bytes)"
            return Unreadable(id=name, reason=reason, raw=block.beginning, position=position)
        data: Any = block.data
        if self._config.data != "text":
            try:
                data = orjson.loads(block.data)
            except orjson.JSONDecodeError as error:
                if self._config.data == "json":
                    reason = f"its data is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
                    return Unreadable(id=name, reason=reason, raw=block.data.encode(), position=position)
        return Received(id=name, event_type=block.event_type, data=data, position=position)

    def _stored(self) -> tuple[str, int | None]:
        """Return last event id and reconnection time; those of the options without a position of this stream."""
        match self._site.position:
            case {"id": str(last_event_id), "retry": int() | None as retry_ms, "stream": self._stream}:
                return last_event_id, retry_ms
        return self._config.last_event_id, None


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]

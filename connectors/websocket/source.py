"""One connection of a WebSocket source after the other: how it begins, what comes over it, why it ends."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

import orjson

from connectors.base.closing import end
from connectors.base.contract import (
    UNMOVED,
    Ack,
    Closed,
    Connection,
    Item,
    NotConnected,
    Received,
    Refused,
    Site,
    Unreadable,
)
from connectors.base.texts.filters import Filter, FilterFailed
from connectors.base.texts.templates import MISSING
from connectors.websocket import liveness, messages, places
from connectors.websocket.config import POSITION, TOKEN, Binary, Config, Place, SendAs, Subscribe, Token
from connectors.websocket.inbox import Inbox
from connectors.websocket.messages import NotReadable

FAULTS: Final = frozenset({1002, 1003, 1007, 1009, 1010})
"""Close codes that say that one of both breaks the protocol, or that a message is too large: soon it is no better."""
FAULT_SECONDS: Final = 60.0
MOST_UNAUTHORIZED: Final = 3
"""Handshakes in a row that may be refused with a fresh token: it may have been withdrawn a moment ago."""
_UNAUTHORIZED: Final = "unauthorized"
_TOO_BIG: Final = "message_too_big"


class Source:
    """Best effort, or at-least-once with `ack`: then the id is the message's own, the same whenever it is repeated."""

    def __init__(self, config: Config, site: Site) -> None:
        self._config, self._site = config, site
        self._reading = messages.Reading(
            form=config.form,
            raw_binary=config.binary is Binary.RAW,
            id_pointer=None if config.id_pointer is None else messages.pointer(config.id_pointer),
            type_pointer=None if config.type_pointer is None else messages.pointer(config.type_pointer),
            position_pointer=None if config.resume is None else messages.pointer(config.resume.pointer),
        )
        self._pong = None if config.ping is None or config.ping.pong is None else Filter(config.ping.pong)
        self._unauthorized = 0
        self._open: Connection | None = None
        """The connection that is subscribed."""

    async def read(self) -> AsyncIterator[Item]:
        """Connect, subscribe, and yield what comes but answers to subscriptions and pings."""
        config, site = self._config, self._site
        token = None if config.token is None else await self._fetched(config.token)
        position = site.position
        inbox = Inbox(config.overflow, max_messages=config.buffer_messages, max_bytes=config.buffer_bytes)
        ordinal = dropped = 0
        try:
            async with site.http.websocket(
                self._url(token, position),
                headers=self._headers(token),
                subprotocols=config.subprotocols,
                max_message_bytes=config.max_message_bytes,
                compress=config.compress,
                timeout_seconds=config.connect_timeout,
            ) as connection:
                self._unauthorized = 0
                asking = _Asking(config.subscribe, {TOKEN: token, POSITION: position}, connection, inbox, site)
                try:
                    asking.begin(self._tasks(connection, inbox))
                    await asking.go_on()
                    self._come(asking, connection)
                    while True:
                        message = await inbox.take()
                        ordinal += 1
                        if inbox.dropped > dropped:
                            site.note("dropped", inbox.dropped - dropped)
                            dropped = inbox.dropped
                        item = self._item(message, ordinal, connection)
                        if asking.waits and isinstance(item, Received) and await asking.answered(item):
                            self._come(asking, connection)
                        elif self._pong is None or not isinstance(item, Received) or not _matches(self._pong, item):
                            yield item
                finally:
                    self._open = None
                    await asking.end()
                    if lost := inbox.dropped - dropped + self._lost(inbox):
                        site.note("dropped", lost)
        except NotConnected as error:
            raise self._explained(error, token) from None
        except Refused as error:
            raise self._refused(error) from None

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:  # noqa: ARG002 a plain socket has no place for it
        """Send a message over the open connection. Raises NotConnected while there is none."""
        if self._config.send_as is SendAs.TEXT:
            text = message.get("text")
            if not isinstance(text, str):
                raise Refused(
                    f"source {self._site.instance_id!r} sends texts: the message needs a member `text`",
                    reason="message",
                )
        else:
            text = orjson.dumps(message).decode()
        if self._open is None:
            raise NotConnected(f"source {self._site.instance_id!r} is not connected; nothing can be sent now")
        await liveness.in_time(self._open.send(text), f"a message of source {self._site.instance_id!r}")
        return None

    # ---- how a connection begins -----------------------------------------------------------------------------------

    def _come(self, asking: "_Asking", connection: Connection) -> None:
        """The link stands, once everything is subscribed."""
        if not asking.waits:
            self._open = connection
            self._site.connected()

    def _lost(self, inbox: Inbox) -> int:
        """Return how many of those that wait nobody will have: a plain service does not tell them again."""
        is_plain = self._config.ack is None and self._config.resume is None
        return inbox.came - inbox.taken if is_plain else 0

    def _tasks(self, connection: Connection, inbox: Inbox) -> list[Coroutine[Any, Any, None]]:
        config, site = self._config, self._site
        tasks: list[Coroutine[Any, Any, None]] = [_fill(connection, inbox)]
        if config.idle_timeout is not None:
            tasks.append(liveness.watch(connection, inbox, site, idle_seconds=config.idle_timeout))
        if config.ping_interval is not None:
            tasks.append(liveness.repeat(connection.ping, site, interval_seconds=config.ping_interval))
        if config.ping is not None:
            ping = partial(connection.send, places.wire(config.ping.message))
            tasks.append(liveness.repeat(ping, site, interval_seconds=config.ping.interval))
        return tasks

    async def _fetched(self, token: Token) -> str:
        what = f"the token of source {self._site.instance_id!r}"
        body = None if token.body is None else token.body.get_secret_value()
        headers = {name: value.get_secret_value() for name, value in token.headers.items()}
        async with self._site.http.request(token.method, token.url, headers=headers, json=body) as answer:
            if answer.status in (400, 401, 403):
                raise Refused(
                    f"{what} is refused with HTTP {answer.status}; check its credentials", reason=_UNAUTHORIZED
                )
            if not 200 <= answer.status < 300:
                raise NotConnected(
                    f"{what} is answered with HTTP {answer.status}",
                    reason=f"http_{answer.status}",
                    retry_after_seconds=answer.retry_after(),
                )
            raw = await answer.body(1024 * 1024)
        try:
            value = messages.found(orjson.loads(raw), messages.pointer(token.pointer))
        except orjson.JSONDecodeError:
            raise NotConnected(f"{what} is answered with what is no JSON", reason="no_token") from None
        if not isinstance(value, str) or not value:
            raise NotConnected(f"{what} is not at {token.pointer} of the answer", reason="no_token")
        return value

    def _headers(self, token: str | None) -> dict[str, str]:
        headers = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        way = self._config.token
        if way is not None and token is not None and way.put is Place.HEADER:
            headers[way.name] = way.prefix + token
        return headers

    def _url(self, token: str | None, position: Any) -> str:
        url, way, resume = self._config.url, self._config.token, self._config.resume
        if way is not None and token is not None and way.put is Place.QUERY:
            url = _with_parameter(url, way.name, token)
        if resume is not None and resume.query is not None and position is not None:
            url = _with_parameter(url, resume.query, places.wire(position))
        return url

    # ---- what comes ------------------------------------------------------------------------------------------------

    def _item(self, message: str | bytes, ordinal: int, connection: Connection) -> Received | Unreadable:
        reading = self._reading
        try:
            data = reading.data(message)
        except NotReadable as error:
            raw = message.encode() if isinstance(message, str) else message
            return Unreadable(id=f"{self._site.epoch}-{ordinal}", reason=str(error), raw=raw)
        event_type = reading.event_type(data)
        event_id = reading.event_id(data) or f"{self._site.epoch}-{ordinal}"
        position = reading.position(data)
        return Received(
            id=event_id,
            event_type=event_type,
            data=data,
            ack=None if self._config.ack is None else self._ack(event_id, event_type, data, connection),
            position=UNMOVED if position is MISSING else position,
        )

    def _ack(self, event_id: str, event_type: str, data: Any, connection: Connection) -> Ack:
        return partial(self._acknowledge, {"id": event_id, "type": event_type, "data": data}, connection)

    async def _acknowledge(self, scope: Mapping[str, Any], connection: Connection) -> None:
        """Tell the connection that it came over; one that is gone repeats what it has not heard of."""
        if connection is not self._open:
            self._site.note("ack_too_late")
            return
        message = places.filled(self._config.ack, scope)
        if message is places.ABSENT:
            self._site.note("ack_without_field")
            return
        await liveness.in_time(liveness.tell(connection, places.wire(message)), "an acknowledgement")

    # ---- why it ends -----------------------------------------------------------------------------------------------

    def _explained(self, error: NotConnected, token: str | None) -> NotConnected | Refused:
        site = self._site
        if isinstance(error, Closed):
            text = error.text.replace(token, "***") if token else error.text
            if error.code in self._config.fatal_close_codes:
                return Refused(
                    f"the other side closed source {site.instance_id!r} with code {error.code}"
                    f"{f' ({text})' if text else ''}, which fatal_close_codes names",
                    reason=error.reason,
                )
            if error.code not in FAULTS:
                return Closed(error.code, text)
            error = Closed(error.code, text)
        elif error.reason != _TOO_BIG:
            return error
        site.say("websocket_fault", reason=error.reason)
        error.retry_after_seconds = FAULT_SECONDS
        return error

    def _refused(self, error: Refused) -> NotConnected | Refused:
        if error.reason != _UNAUTHORIZED or self._config.token is None:
            return error
        self._unauthorized += 1
        if self._unauthorized >= MOST_UNAUTHORIZED:
            return error
        return NotConnected(f"{error}; it is tried again with a fresh token", reason=_UNAUTHORIZED)


class _Asking:
    """The messages of `subscribe`, one after the other, and the tasks beside the reading of one connection."""

    def __init__(
        self,
        messages_to_send: list[Subscribe],
        scope: Mapping[str, Any],
        connection: Connection,
        inbox: Inbox,
        site: Site,
    ) -> None:
        self._left = list(reversed(messages_to_send))
        self._number = 0
        self._scope, self._connection, self._inbox, self._site = scope, connection, inbox, site
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer: Filter | None = None
        self._patience: asyncio.Task[None] | None = None

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._answer is not None

    def begin(self, works: list[Coroutine[Any, Any, None]]) -> None:
        """Run tasks until the end; what one of them raises ends the reading."""
        for work in works:
            self._run(work)

    async def go_on(self) -> None:
        """Send messages up to one that has to be answered."""
        while self._left and self._answer is None:
            one = self._left.pop()
            self._number += 1
            message = places.filled(one.message.get_secret_value(), self._scope)
            if message is places.ABSENT:
                continue
            what = f"message {self._number} of subscribe of source {self._site.instance_id!r}"
            if one.answer is not None:
                self._answer = Filter(one.answer)
                self._patience = self._run(self._expire(one.timeout, what))
            await liveness.in_time(liveness.tell(self._connection, places.wire(message)), what)

    async def answered(self, item: Received) -> bool:
        """Whether this is the answer; then the next messages are sent."""
        if self._answer is None or not _matches(self._answer, item):
            return False
        self._answer = None
        if self._patience is not None:
            await end([self._patience])
        await self.go_on()
        return True

    async def end(self) -> None:
        await end(self._tasks)

    def _run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._inbox.fail(error)

    async def _expire(self, seconds: float, what: str) -> None:
        await self._site.sleep(seconds)
        came = self._inbox.came
        while self._inbox.blocked or self._inbox.taken < came:  # it may be among what came, which is read slowly
            await self._site.sleep(seconds)
        raise NotConnected(f"{what} was not answered within {seconds:g} s", reason="subscribe_timeout")


async def _fill(connection: Connection, inbox: Inbox) -> None:
    receive, put = connection.receive, inbox.put
    while True:
        await put(await receive())


def _matches(wanted: Filter, item: Received) -> bool:
    try:
        return wanted.takes({"type": item.event_type, "data": item.data})
    except FilterFailed:
        return False  # a question that makes no sense for it, such as a number of a text


def _with_parameter(url: str, name: str, value: str) -> str:
    parts = urlsplit(url)
    parameter = f"{quote(name, safe='')}={quote(value, safe='')}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{parameter}" if parts.query else parameter))

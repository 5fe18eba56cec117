"""Reads a bot's gateway, and sends through Discord's HTTP API. The frame makes it, and reads again after each failure.

The position moves with what is durable, and every connection starts from it: a session is resumed after the last event
that the broker has, by whichever process. Where the session is lost, the channels' histories tell the messages of the
meantime before anything new is told.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from connectors.base.contract import UNMOVED, Connection, Item, Moved, NotConnected, Refused, Site, Unreadable
from connectors.discord import backfill, budget, events, sending, snowflakes
from connectors.discord.closes import KEEPING, Then
from connectors.discord.config import Config
from connectors.discord.place import Place
from connectors.discord.rest import Gateway, Rest
from connectors.discord.session import AskPermission, Began, Emit, End, Resumed
from connectors.discord.wire import Wire

MAX_FRUITLESS: Final = 5
"""Resumptions in a row of which nothing comes, until a new session begins (discord-api-docs #1619)."""
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
"""The description of a large guild has some megabytes."""

_QUERY: Final = "v=10&encoding=json"
_POSITION_EVERY: Final = 50
"""In a burst the position goes along with each of so many events; it holds the newest message of many channels."""
_STORED_WITHIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.05
_OVERLAP: Final = timedelta(minutes=5)


class Source:
    """At-least-once while Discord keeps the session, some minutes; new messages also beyond that, by their history."""

    def __init__(self, config: Config, site: Site) -> None:
        self._config, self._site = config, site
        self._rest = Rest(site, token=config.token, api_url=config.api_url)
        self._terms = f"{config.intents}/{config.shard or ''}"
        self._place = Place()
        self._gateway: Gateway | None = None
        self._lost: str | None = None
        """The session that Discord has ended, or that cannot be resumed: whatever the position says."""
        self._fruitless = 0
        self._unreached = 0
        """How often in a row the address to resume at could not be reached."""
        self._filled: set[str] = set()
        """Messages that the history has told and the gateway may tell as well."""
        self._unplaced = 0
        """Dispatches since the position was last handed on."""
        self._owed = False
        """Events are among them."""

    async def read(self) -> AsyncIterator[Item]:
        """Connect, and yield events. Raises NotConnected and Refused, see `contract.Source`."""
        self._begin()
        async with AsyncExitStack() as opened:
            connection = await self._connect(opened)
            wire = Wire(connection, self._site, self._config, self._place.session, stored_seq=self._stored_seq)
            try:
                wire.start()
                async for item in self._backfill():  # what was begun before, if anything is left of it
                    yield item
                while True:
                    come = await wire.inbox.get()
                    match come:
                        case Emit():
                            told = self._event(come, idle=wire.inbox.is_empty)
                            if told is not None:
                                yield told
                        case Unreadable():
                            yield come
                        case AskPermission():
                            async for item in self._identify(wire):
                                yield item
                        case Began():
                            async for item in self._new_session(come):
                                yield item
                        case Resumed(seq=seq):
                            self._fruitless = 0
                            self._place = self._place.passed(seq)
                        case End():
                            raise self._end(come, wire)
                    if self._owed and wire.inbox.is_empty:
                        yield self._moved()
            finally:
                await wire.stop()
                await connection.close(KEEPING)

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        """Send a message, a reaction or an answer, see `sending`. Raises NotConnected, Refused."""
        reply = await self._rest.ask(sending.ask(message, key=key))
        if 200 <= reply.status < 300:
            return reply.data if isinstance(reply.data, dict) else None
        if reply.code == sending.ALREADY_ANSWERED:
            return None
        raise Refused(
            f"Discord takes no such message from source {self._site.instance_id!r}: {reply.problem()}",
            reason=f"http_{reply.status}",
        )

    # ---- connecting --------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        place = Place.read(self._site.position)
        if place.session is not None and (place.session.id == self._lost or place.terms != self._terms):
            place = place.lost()
        self._place, self._unplaced, self._owed = place, 0, False
        self._filled.clear()

    async def _connect(self, opened: AsyncExitStack) -> Connection:
        going = self._place.session
        if going is not None and self._unreached % 2 == 0:
            url = going.resume_url
        else:
            url = (await self._found(fresh=going is None)).url
        address = address_of(url, tls=self._config.api_url.startswith("https://"))
        try:
            connection = await opened.enter_async_context(
                self._site.http.websocket(address, max_message_bytes=MAX_MESSAGE_BYTES)
            )
        except (NotConnected, Refused) as failed:
            if going is None:
                raise
            # Discord hands these addresses out: one that is gone is no reason to stop. The other one comes next.
            self._unreached += 1
            wait = failed.retry_after_seconds if isinstance(failed, NotConnected) else None
            raise NotConnected(str(failed), reason=failed.reason, retry_after_seconds=wait) from failed
        self._unreached = 0
        return connection

    async def _found(self, *, fresh: bool) -> Gateway:
        """Return where the gateway is; `fresh` is for a new session, which must be within the budget."""
        if self._gateway is None or fresh:
            self._gateway = await self._rest.gateway()
        if fresh:
            closed = budget.closed_for_seconds(
                self._place.starts,
                self._gateway.allowance,
                shards=1 if self._config.shard is None else self._config.shard[1],
                now=self._site.now(),
            )
            if closed > 0:
                raise NotConnected(
                    f"source {self._site.instance_id!r} may begin no session for {closed:.0f} s: Discord allows a bot "
                    f"{self._gateway.allowance.total} a day",
                    reason="identify_budget",
                    retry_after_seconds=closed,
                )
        return self._gateway

    async def _identify(self, wire: Wire) -> AsyncIterator[Item]:
        """Count the identify where a restart finds it, wait for this shard's turn, and identify."""
        before, site = self._place.starts, self._site
        self._place = replace(self._place, starts=before.counted(site.now()))
        yield self._moved()
        if not await self._is_stored(wire):
            return
        assert self._gateway is not None, "a new session was asked for where the gateway is"
        wait = budget.turn_in_seconds(
            before, self._gateway.allowance, shard=self._config.shard, now=site.now(), chance=site.random()
        )
        if wait > 0:
            await site.sleep(wait)
        self._place = replace(self._place, starts=replace(self._place.starts, last=site.now().timestamp()))
        await wire.permit()

    async def _is_stored(self, wire: Wire) -> bool:
        until = self._site.monotonic() + _STORED_WITHIN_SECONDS
        while Place.read(self._site.stored_position).starts.hours != self._place.starts.hours:
            if wire.is_over:
                return False
            if self._site.monotonic() >= until:
                raise NotConnected(
                    f"the position of source {self._site.instance_id!r} is not stored within "
                    f"{_STORED_WITHIN_SECONDS:g} s, and no session begins that is not counted",
                    reason="not_stored",
                )
            await self._site.sleep(_LOOK_SECONDS)
        return True

    # ---- reading -----------------------------------------------------------------------------------------------------

    async def _new_session(self, began: Began) -> AsyncIterator[Item]:
        self._fruitless, self._lost = 0, None
        if self._wants_history:
            self._place = self._place.begun(
                began.session,
                terms=self._terms,
                asked=self._config.backfill_channels,
                since=snowflakes.first_of(self._site.now()),
            )
        else:
            self._place = replace(self._place, session=began.session, terms=self._terms, gaps=())
        yield self._moved()
        async for item in self._backfill():
            yield item

    async def _backfill(self) -> AsyncIterator[Item]:
        """Yield the messages of all gaps, oldest first in each channel."""
        if not self._wants_history:
            self._place = replace(self._place, gaps=())
        since = self._site.now() - _OVERLAP
        for channel in self._place.gaps:
            after = self._place.newest[channel]
            found = backfill.history(
                self._rest, self._site, channel=channel, after=after, limit=self._config.backfill_limit
            )
            async for message_id, message in found:
                self._place = self._place.told(channel, message_id, kept=self._config.backfill_channels)
                if snowflakes.created_at(message_id) >= since:
                    self._filled.add(message_id)
                self._site.note("backfilled")
                yield events.message(message, message_id, position=self._place.as_json())
            self._place = self._place.filled(channel)
            yield self._moved()

    @property
    def _wants_history(self) -> bool:
        return self._config.backfill and self._config.takes(events.MESSAGE)

    def _event(self, come: Emit, *, idle: bool) -> Item | None:
        self._fruitless = 0
        self._place = self._place.passed(come.event.seq)
        taken = self._config.takes(events.event_type(come.event.name))
        message = events.channel_and_message(come.event)
        if message is not None and self._wants_history:
            self._place = self._place.told(*message, kept=self._config.backfill_channels)
            if message[1] in self._filled:
                self._site.note("duplicates")
                taken = False
        self._unplaced += 1
        self._owed = self._owed or taken
        place = self._moved() if self._unplaced >= _POSITION_EVERY or (idle and taken) else None
        if not taken:
            return place
        position = UNMOVED if place is None else place.position
        return events.received(come.event, session_id=come.session_id, position=position)

    def _moved(self) -> Moved:
        self._unplaced, self._owed = 0, False
        return Moved(position=self._place.as_json())

    def _stored_seq(self, session_id: str) -> int | None:
        """Return after which number of a session a restart resumes: heartbeats tell no more, Discord may forget it."""
        stored = Place.read(self._site.stored_position).session
        return stored.seq if stored is not None and stored.id == session_id else None

    def _end(self, end: End, wire: Wire) -> Exception:
        going = wire.link.session
        if wire.link.fruitless:
            self._fruitless += 1
        given_up = self._fruitless >= MAX_FRUITLESS
        if end.then is Then.IDENTIFY or given_up:
            self._lost, self._fruitless = self._lost if going is None else going.id, 0
            self._site.note("sessions_lost")
        message = f"source {self._site.instance_id!r}: {end.message}"
        if end.then is Then.STOP:
            return Refused(message, reason=end.reason)
        return NotConnected(message, reason=end.reason, retry_after_seconds=end.pause_seconds, at_once=end.at_once)


def address_of(url: str, *, tls: bool) -> str:
    """Return the address to connect to for one that Discord has named. Raises NotConnected when it is none.

    `tls`: the token goes over TLS alone, as the API's address does.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ({"wss"} if tls else {"wss", "ws"}) or not host:
        raise NotConnected("Discord named a gateway that is no WebSocket over TLS", reason="protocol")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", _QUERY, ""))

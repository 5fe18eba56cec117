"""Runs one connection to the gateway: frames to the state machine, its effects to the socket and to the reader.

Two tasks: one receives, as long as there is room for what comes; the other one sees to heartbeats. Both stop with the
connection, and what has come by then is still read.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from typing import Any, Final

from connectors.base.contract import Closed, Connection, NotConnected, Site, Unreadable
from connectors.discord import frames, session
from connectors.discord.config import Config
from connectors.discord.inbox import Inbox
from connectors.discord.session import AskPermission, Began, Emit, End, Link, Resumed, Session

ABNORMAL: Final = 1006
"""What a client says where there was no close code (RFC 6455, 7.1.5)."""

Come = AskPermission | Began | Resumed | Emit | End | Unreadable


class Wire:
    """`inbox` is what the reader has to deal with, in order; the last of it is an End."""

    def __init__(
        self,
        connection: Connection,
        site: Site,
        config: Config,
        resumed: Session | None,
        *,
        stored_seq: Callable[[str], int | None],
    ) -> None:
        self._connection, self._site, self._config, self._stored_seq = connection, site, config, stored_seq
        self._link = session.opened(resumed, now=site.monotonic())
        self._deaf = False
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self.inbox: Inbox[Come] = Inbox()

    @property
    def link(self) -> Link:
        return self._link

    @property
    def is_over(self) -> bool:
        return self._link.stage is session.Stage.OVER

    def start(self) -> None:
        for work in (self._receive(), self._beat()):
            self._own(work)

    async def stop(self) -> None:
        """Stop both tasks. The connection stays as it is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def permit(self) -> None:
        """Identify: it is within the budget, and counted."""
        await self._take(session.Permitted())

    async def _receive(self) -> None:
        while not self.is_over:
            if self.inbox.is_full:
                self._deaf = True
                await self.inbox.room()
            try:
                raw = await self._connection.receive()
            except Closed as closed:
                await self._take(session.Broke(code=None if closed.code == ABNORMAL else closed.code))
            except NotConnected:
                await self._take(session.Broke(code=None))
            else:
                await self._read(raw)

    async def _read(self, raw: str | bytes) -> None:
        size = len(raw)
        try:
            frame = frames.decode(raw)
        except frames.Undecodable as problem:
            data = raw.encode(errors="replace") if isinstance(raw, str) else raw
            name = hashlib.sha256(data).hexdigest()[:32]
            self.inbox.put(Unreadable(id=f"unreadable/{name}", reason=str(problem), raw=data), size)
        else:
            await self._take(frame, size)

    async def _beat(self) -> None:
        while not self.is_over:
            wait = self._link.due_at - self._site.monotonic()
            if wait > 0:
                await self._sleep(wait)
                continue
            deaf, self._deaf = self._deaf, self.inbox.is_full
            await self._take(session.Ticked(deaf=deaf))

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond a change of what is due."""
        self._changed.clear()
        sleeping = asyncio.ensure_future(self._site.sleep(seconds))
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            changed.cancel()

    async def _take(self, given: session.Given, size_bytes: int = 0) -> None:
        due_at = self._link.due_at
        self._link, effects = session.advance(self._link, given, now=self._site.monotonic(), chance=self._site.random())
        if self._link.due_at != due_at or self.is_over:
            self._changed.set()
        for effect in effects:
            await self._follow(effect, size_bytes)

    async def _follow(self, effect: session.Effect, size_bytes: int) -> None:
        token = self._config.token.get_secret_value()
        match effect:
            case session.Beat():
                going = self._link.session
                await self._send(frames.heartbeat(None if going is None else self._stored_seq(going.id)))
            case session.Identify():
                await self._send(frames.identify(token=token, intents=self._config.intents, shard=self._config.shard))
            case session.Resume(session=going):
                await self._send(frames.resume(token=token, session_id=going.id, seq=going.seq))
            case session.Count(what=what, count=count):
                self._site.note(what, count)
            case End(close=code):
                self.inbox.put(effect)
                if code is not None:
                    await self._connection.close(code)
            case AskPermission() | Emit():
                self.inbox.put(effect, size_bytes)
            case Began() | Resumed():
                self._site.connected()
                self.inbox.put(effect, size_bytes)

    async def _send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except NotConnected:
            pass  # whoever receives learns it too, and with the close code

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._done)
        self._tasks.append(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.inbox.fail(failure)

"""Where a source stands: what the frame gives to it (connectors.base.contract.Site), and what all of them share."""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from connectors.base.instance.buffer import Room
from connectors.base.instance.events import Outgoing
from connectors.base.instance.watched import Watched
from connectors.base.logs import warn
from connectors.base.metrics import SourceMetrics
from connectors.base.reach.folders import Folders
from connectors.base.reach.http import ClientHttp
from connectors.base.texts.secrets import Variables
from topics.facts import Record
from topics.sources import Spec

Resolve = Callable[[str, int], Awaitable[Sequence[tuple[str, int]]]]
SLEEP_SLICE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What all sources of a process share."""

    publish: Callable[[Sequence[Outgoing], Sequence[Record]], Awaitable[None]]
    lease: Callable[[], Awaitable[None]]
    """Returns once this process is known to own what it has."""
    http: Callable[[Callable[[int], None]], ClientHttp]
    """Makes the HTTP client of one source, which tells it of every byte."""
    resolve: Resolve
    metrics: SourceMetrics
    secrets_folder: Path | None
    folders: Folders
    event_bytes: int
    room: Room = field(default_factory=Room)
    environment: Variables = field(default_factory=lambda: Variables(of_process=os.environ))


class Runs(Protocol):
    """Who runs a source: where that has read to, and what of it a restart would know."""

    @property
    def position(self) -> Any: ...
    @property
    def stored_position(self) -> Any: ...
    def masked(self, text: str) -> str:
        """Return a text without the secrets of the source."""
        ...


class Standing:
    """One source's site."""

    def __init__(self, spec: Spec, around: Around, watched: Watched, runner: Runs) -> None:
        self._spec, self._around, self._watched, self._runner = spec, around, watched, runner
        self._http: ClientHttp | None = None

    @property
    def instance_id(self) -> str:
        return self._spec.id

    @property
    def position(self) -> Any:
        return self._runner.position

    @property
    def stored_position(self) -> Any:
        return self._runner.stored_position

    @property
    def epoch(self) -> str:
        return self._watched.epoch

    @property
    def http(self) -> ClientHttp:
        if self._http is None:
            self._http = self._around.http(self._watched.heard)
        return self._http

    async def close(self) -> None:
        """Close the connections that its source has left open."""
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        return await self._around.resolve(host, port)

    def permit(self, path: str) -> None:
        self._around.folders.permit(path)

    def may_use(self, variable: str) -> bool:
        return self._around.environment.may_be_named(variable)

    def connected(self) -> None:
        self._watched.connected()

    def heard(self, size_bytes: int) -> None:
        self._watched.heard(size_bytes)

    def note(self, what: str, count: int = 1) -> None:
        self._watched.note(what, count)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    async def sleep(self, seconds: float) -> None:
        """Sleep in slices: a machine that slept itself is noticed soon."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 time is what is waited for
            await asyncio.sleep(min(left, SLEEP_SLICE_SECONDS))

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(call, *arguments)

    def say(self, event: str, **fields: Any) -> None:
        plain = (int, float, bool, type(None))
        shown = {
            name: value if isinstance(value, plain) else self._runner.masked(str(value))
            for name, value in fields.items()
        }
        warn(event, source=self.instance_id, kind=self._spec.kind, **shown)

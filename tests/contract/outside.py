"""The world outside of a source, as the contract needs it: events that happen when a test says so, and are numbered.

`outsides/<kind>.py` has OUTSIDES, the worlds of that kind by name: one for each way in which it reads.
"""

import importlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Final, Self, cast

from connectors.base.contract import Delivery, Site
from connectors.base.kinds import registry

SECRET: Final = "canary-0123456789abcdef"
"""What lets a source in. It stands in options as it is, so that no masking by the frame hides what a kind says."""
INSTANCE: Final = "src"


class Outside:
    """A world of one kind; `async with` opens it."""

    kind: ClassVar[str]
    delivery: ClassVar[Delivery | None] = None
    """What can be counted on with these options, where it is more than the kind promises."""
    begins_with_position: ClassVar[bool] = False
    """What happens is read once there is a position; without it, from the beginning."""
    acknowledges: ClassVar[bool] = False
    """The source tells the other side what it need not repeat."""
    at_a_time: ClassVar[int | None] = None
    """Most events that are read before the broker has them, where that is few."""
    refusal: ClassVar[str] = ""
    """What the status says while credentials are revoked: part of the reason or of the message."""

    side_by_side: ClassVar[bool] = False
    """What came before an edit may still be published after what came later: nobody reads one after the other."""
    edited: ClassVar[Mapping[str, Any]] = {}
    """Options of the same source after an edit: they change neither what it reads nor where it is."""
    deaths: ClassVar[int] = 20
    """How many owners die; fewer where a world with the same reader has as many."""
    on_kafka: ClassVar[bool] = False
    """It needs a broker."""

    def __init__(self, folder: Path, *, bootstrap: str = "") -> None:
        self.folder, self.bootstrap = folder, bootstrap
        self.happened = 0
        """Events so far; they are numbered from 1 on."""
        self.opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.opened.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.opened.aclose()

    async def open(self) -> None:
        raise NotImplementedError

    @property
    def options(self) -> Mapping[str, Any]:
        """Those of a source that reads it."""
        raise NotImplementedError

    async def tell(self) -> int:
        """Let one more event happen; return its number."""
        self.happened += 1
        await self.happen(self.happened)
        return self.happened

    async def happen(self, number: int) -> None:
        raise NotImplementedError

    def has_begun(self, position: Any) -> bool:
        """Whether everything that happens from now on is read, whoever begins with this position."""
        return position is not None or not self.begins_with_position

    def number(self, event: Mapping[str, Any]) -> int:
        """Return which one a published event is: it has `id`, `event_type`, `key` and `data`."""
        return int(event["data"]["n"])

    def acknowledged(self) -> set[int]:
        """Return which events the other side need not repeat."""
        raise NotImplementedError

    async def revoke(self) -> None:
        """Let nobody in any more, and those go who are in."""
        raise NotImplementedError

    async def restore(self) -> None:
        raise NotImplementedError

    def live(self, world: Any, **how: Any) -> Any:
        """Begin a life of an owner (tests/contract/lives.py), where that is none of the frame's; None: it is."""
        return None

    def site(self, site: Site) -> Site:
        """Return where the source stands: in another time, say."""
        return site


class Hurried:
    """A site whose seconds are shorter: sleeping and the monotonic clock are `speed` times as fast."""

    def __init__(self, site: Site, *, speed: float) -> None:
        self._site, self._speed = site, speed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site, name)

    def monotonic(self) -> float:
        return self._site.monotonic() * self._speed

    async def sleep(self, seconds: float) -> None:
        await self._site.sleep(seconds / self._speed)


def hurried(site: Site, *, speed: float) -> Site:
    return cast(Site, Hurried(site, speed=speed))


def worlds() -> dict[str, type[Outside]]:
    """Return all worlds by name; it begins with the kind. One is of a third party's."""
    found: dict[str, type[Outside]] = {}
    for kind in (*registry.ours(), "third_party"):
        try:
            module = importlib.import_module(f"tests.contract.outsides.{kind.replace('-', '_')}")
        except ModuleNotFoundError as error:
            if error.name is None or not error.name.startswith("tests.contract.outsides"):
                raise
            continue
        found |= module.OUTSIDES
    return found

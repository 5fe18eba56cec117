"""What a world outside is to the fleet: one of the contract, at a rate, and with a peer that others wrote."""

import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from connectors.base.contract import Delivery
from connectors.base.kinds import registry, unnamed
from tests.contract.outside import Outside


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where worlds stand: what they share."""

    folder: Path
    bootstrap: str
    gateway: str = ""
    """Its address, whether it is there or not."""
    moto: str | None = None
    pubsub: str | None = None


class World(Outside):
    """One source and what it reads. Numbers are those of its events, from 1 on."""

    id: ClassVar[str]
    peer: ClassVar[str]
    """Whose program is at the other end."""
    more: ClassVar[Mapping[str, Any]] = {}
    """Options of its source beside those of the contract, or instead of them."""
    per_second: ClassVar[float] = 5.0
    is_prompt: ClassVar[bool] = True
    """Whether blows wait until it has gone on: some peers hide for long what a dead owner was given."""
    can_revoke: ClassVar[bool] = False
    """Whether credentials can be taken and given back, or what stands for them."""
    is_listed: ClassVar[bool] = True
    """Whether `headgate connectors status` says how it is: of webhooks a gateway does."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.folder / self.id, bootstrap=place.bootstrap)
        self.folder.mkdir(parents=True)
        self.place = place
        self._times: list[float] = []

    @classmethod
    def absent(cls, place: Place) -> str | None:
        """Return why its peer cannot be had here; None: it can."""
        return None

    @property
    def promise(self) -> Delivery:
        """What its users can count on."""
        return self.delivery or registry.load(self.kind).delivery

    @property
    def is_demanded(self) -> bool:
        """Whether nothing of it may be lost or doubled."""
        return self.promise is not Delivery.BEST_EFFORT

    def declared(self, topic: str, secrets: Path) -> dict[str, Any]:
        """Return its source as a file has it: what is secret in it is in files of a folder."""
        found = unnamed.find(registry.load(self.kind).config, self.options)
        names = {text: f"{self.id}-{number}" for number, text in enumerate(sorted({one.text for one in found}))}
        for text, name in names.items():
            (secrets / name).write_text(text)
        return {
            "id": self.id,
            "kind": self.kind,
            "topic": topic,
            "options": _named({**self.options, **self.more}, names),
            "reconnect": {"base_seconds": 0.2, "max_seconds": 1, "failed_seconds": 2},
        }

    async def tell(self) -> int:
        """Let one more event happen, and note when."""
        self._times.append(time.time())
        return await super().tell()

    async def settle(self) -> None:
        """Return once everything that has happened can be read by whoever asks."""

    def happened_at(self, number: int) -> float:
        """Return when an event happened, in seconds since 1970."""
        return self._times[number - 1]

    def count(self, seen: Set[int]) -> int:
        """Return how many events there have been."""
        return self.happened

    def missing(self, seen: Set[int]) -> set[int]:
        """Return the numbers of events that nobody has seen."""
        return set(range(1, self.happened + 1)) - seen

    def details(self) -> Mapping[str, Any]:
        """Return what else was counted here."""
        return {}


def _named(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _named(inner, names) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_named(inner, names) for inner in value]
    return f"{{{{ file.{names[value]} }}}}" if isinstance(value, str) and value in names else value

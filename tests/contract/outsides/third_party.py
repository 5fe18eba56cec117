"""Numbers that a provider of a third party reads; the frame makes a source of it (base/kinds/provided.py)."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Final, Literal

import pytest

from connectors.base.kinds import registry
from headgate.providers import Emit, Failed, SourceEvent, TriggerProvider
from tests.contract.outside import SECRET, Outside


class Numbers(TriggerProvider):
    """Numbers, one after the other."""

    delivery: ClassVar[Literal["exactly-once", "at-least-once", "best-effort"]] = "exactly-once"
    example: ClassVar[Mapping[str, Any]] = {"key": "{{ env.KEY }}"}
    counter: ClassVar["Counter"]

    async def init(self, config: Mapping[str, Any]) -> None:
        self._key = config["key"]

    async def run(self, emit: Emit, position: Any) -> None:
        number = position or 0
        while True:
            number += 1
            await self.counter.reaches(number, self._key)
            await emit(SourceEvent(id=f"n{number}", type="number", data={"n": number}), position=number)


class Counter(Outside):
    kind = "numbers"
    at_a_time = 1
    refusal = "the key is not taken"
    edited: ClassVar[Mapping[str, Any]] = {"edition": 1}

    async def open(self) -> None:
        self._news, self._lets_in = asyncio.Condition(), True
        Numbers.counter = self
        self.opened.enter_context(_installed(self.kind, Numbers))

    @property
    def options(self) -> Mapping[str, Any]:
        return {"key": SECRET}

    async def happen(self, number: int) -> None:
        await self._tell_all()

    async def revoke(self) -> None:
        self._lets_in = False
        await self._tell_all()

    async def restore(self) -> None:
        self._lets_in = True

    async def reaches(self, number: int, key: str) -> None:
        """Return once there are so many. Raises Failed."""
        async with self._news:
            await self._news.wait_for(lambda: self.happened >= number or not self._lets_in)
        if not self._lets_in or key != SECRET:
            raise Failed("the key is not taken")

    async def _tell_all(self) -> None:
        async with self._news:
            self._news.notify_all()


@contextmanager
def _installed(kind: str, provider: type[TriggerProvider]) -> Iterator[None]:
    """As after `pip install`."""
    entry = EntryPoint(name=kind, value=f"{provider.__module__}:{provider.__name__}", group=registry.ENTRY_POINTS)

    def entry_points(*, group: str) -> Iterable[EntryPoint]:
        return [entry] if group == registry.ENTRY_POINTS else []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "entry_points", entry_points)
        registry.forget()
        yield
    registry.forget()


OUTSIDES: Final = {"numbers of a third party": Counter}

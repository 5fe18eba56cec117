"""Where sources stand while they are fuzzed: nothing is waited for, and HTTP answers what the input says."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, cast

from multidict import CIMultiDict

from connectors.base.contract import Ended, Http, Item, NotConnected, Received, Refused, Source
from connectors.base.reach.http import retry_after
from tests.fuzz.targets import at_once, landed, named
from tests.unit.connectors.standing import StandIn

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
MOST_ITEMS: Final = 200


class Said:
    """An answer of HTTP: `connectors.base.contract.Answer`."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes | Sequence[bytes], *, url: str) -> None:
        self.status, self.url, self.moved_to = status, url, None
        self.headers = CIMultiDict(headers)
        self._chunks = [body] if isinstance(body, bytes) else body

    async def body(self, max_bytes: int = 16 * 1024 * 1024) -> bytes:
        return b"".join(self._chunks)

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    def retry_after(self) -> float | None:
        return retry_after(self.headers, NOW)


class Answering:
    """HTTP that gives answers in their order, and nothing after them."""

    def __init__(self, *answers: tuple[int, Mapping[str, str], bytes | Sequence[bytes]]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, **how: Any
    ) -> AsyncIterator[Said]:
        self.asked.append((method, url, headers or {}))
        if not self._answers:
            raise NotConnected("that was all", reason="over")
        status, given, body = self._answers.pop(0)
        yield Said(status, given, body, url=url)


class FuzzSite(StandIn):
    """A site whose threads are none."""

    def __init__(self, http: Answering | None = None, *, position: Any = None) -> None:
        super().__init__(http=cast(Http, http), position=position, now=NOW)

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return call(*arguments)

    async def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < 10**9, seconds
        self.slept.append(seconds)
        if len(self.slept) > 20:
            raise NotConnected("it sleeps for ever", reason="over")
        self.advance(seconds)


def read_out(source: Source) -> tuple[list[Item], Exception]:
    """Return what a source reads until it ends, and why it ends, which has to be one of the contract's reasons."""

    async def collected() -> tuple[list[Item], Exception]:
        items: list[Item] = []
        reading = source.read()
        try:
            async for item in reading:
                items.append(item)
                if len(items) == MOST_ITEMS:
                    return items, NotConnected("enough", reason="enough")
        except (NotConnected, Refused, Ended) as end:
            named(end)
            return items, end
        finally:
            await reading.aclose()  # type: ignore[attr-defined] # sources read by generators
        return items, NotConnected("read returned", reason="returned")

    return at_once(collected())


def outcome(items: Sequence[Item], end: Exception | None = None) -> str:
    """Land all that came; return the rarest of what became of it, else why reading ended."""
    ends = [landed(item) for item in items]
    assert all(item.event_type for item in items if isinstance(item, Received))
    for word in ends:
        if word not in ("event", "moved"):
            return word
    if "event" in ends:
        return "event"
    return type(end).__name__.lower() if end is not None else "nothing"

"""A stream of a small Redis with one consumer group: what the source asks of it, and no more."""

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from connectors.base.contract import Site
from tests.contract.outside import SECRET, Outside, hurried
from tests.contract.outsides.sqs import SPEED, now
from tests.unit.connectors.redis.server import Failure, encoded

NO_ENTRY: Final = Failure("NOAUTH Authentication required.")


class Streams:
    """What was added, who was given what, and what is acknowledged. Entry `n-0` is number n."""

    def __init__(self) -> None:
        self.news = asyncio.Condition()
        self.count = self.given = 0
        self.has_group = False
        self.consumers: set[str] = set()
        self.pending: dict[int, tuple[str, float, int]] = {}
        """By entry: its consumer, when it was given to it, and how often it was given."""

    async def ask(self, words: list[str], reader: asyncio.StreamReader) -> Any:
        """Answer a command."""
        match words:
            case ["PING" | "SELECT", *_]:
                return "OK"
            case ["XGROUP", "CREATE", *_]:
                if self.has_group:
                    return Failure("BUSYGROUP Consumer Group name already exists")
                self.has_group = True
                return "OK"
            case ["XINFO", "CONSUMERS", *_]:
                return [[b"name", one.encode(), b"pending", len(self.of(one))] for one in sorted(self.consumers)]
            case ["XREADGROUP", "GROUP", _, name, "COUNT", count, *more, after]:
                self.consumers.add(name)
                if after == ">":
                    return await self.fresh(name, int(count), int(more[1]) / 1000, reader)
                return self.told([one for one in self.of(name) if one > number_of(after)][: int(count)])
            case ["XACK", _, _, *ids]:
                return sum(self.pending.pop(number_of(one), None) is not None for one in ids)
            case ["XPENDING", _, _, first, last, count, name]:
                begin = 0 if first == "-" else number_of(first) + first.startswith("(")
                end = self.count if last == "+" else number_of(last)
                found = [one for one in self.of(name) if begin <= one <= end][: int(count)]
                return [[b"%d-0" % one, name.encode(), 0, self.pending[one][2]] for one in found]
            case ["XCLAIM", _, _, name, _, *ids, "JUSTID"]:
                taken = [number_of(one) for one in ids if number_of(one) in self.pending]
                self.pending |= {one: (name, now(), self.pending[one][2]) for one in taken}
                return [b"%d-0" % one for one in taken]
            case ["XAUTOCLAIM", _, _, name, idle, *_]:
                left = [one for one, (_, at, _) in self.pending.items() if (now() - at) * 1000 >= int(idle)]
                self.pending |= {one: (name, now(), self.pending[one][2] + 1) for one in left}
                return [b"0-0", [self.entry(one) for one in left], []]
            case ["EVAL", *_, name]:
                if not self.of(name):
                    self.consumers.discard(name)
                return 0
        raise AssertionError(words)

    async def fresh(self, name: str, count: int, seconds: float, reader: asyncio.StreamReader) -> Any:
        """Give a consumer what nobody was given yet, once there is something; nothing to one that has gone."""
        try:
            async with asyncio.timeout(seconds), self.news:
                await self.news.wait_for(lambda: self.count > self.given or reader.at_eof())
        except TimeoutError:
            return None
        if reader.at_eof():
            return None
        found = range(self.given + 1, min(self.count, self.given + count) + 1)
        self.given += len(found)
        self.pending |= {one: (name, now(), 1) for one in found}
        return self.told(list(found))

    def of(self, name: str) -> list[int]:
        return sorted(one for one, (owner, _, _) in self.pending.items() if owner == name)

    def told(self, numbers: list[int]) -> Any:
        return [[b"orders", [self.entry(one) for one in numbers]]]

    def entry(self, number: int) -> Any:
        return [b"%d-0" % number, [b"n", b"%d" % number]]


def number_of(entry_id: str) -> int:
    return int(entry_id.removeprefix("(").partition("-")[0])


class Redis(Outside):
    kind = "redis"
    acknowledges = True
    refusal = "credentials"
    edited: ClassVar[Mapping[str, Any]] = {"batch": 50}

    async def open(self) -> None:
        self._streams, self._lets_in = Streams(), True
        self._there: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.opened.callback(server.close)
        self._port = server.sockets[0].getsockname()[1]

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"url": f"redis://:{SECRET}@127.0.0.1:{self._port}/0", "streams": ["orders"]}
        return {**place, "block": 0.2, "claim_idle": 20, "max_deliveries": None}

    async def happen(self, number: int) -> None:
        self._streams.count = number
        await self._tell_all()

    def acknowledged(self) -> set[int]:
        streams = self._streams
        return {*range(1, streams.given + 1)} - streams.pending.keys()

    async def revoke(self) -> None:
        self._lets_in = False
        for writer in list(self._there):
            writer.close()
        await self._tell_all()

    async def restore(self) -> None:
        self._lets_in = True

    def site(self, site: Site) -> Site:
        return hurried(site, speed=SPEED)

    async def _tell_all(self) -> None:
        async with self._streams.news:
            self._streams.news.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._there.add(writer)
        is_in = False
        try:
            while (head := await reader.readline()).startswith(b"*"):
                words = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                if words[0] == "AUTH":
                    is_in = self._lets_in and words[-1] == SECRET
                    answer = "OK" if is_in else Failure("WRONGPASS invalid username-password pair or user is disabled.")
                else:
                    answer = await self._streams.ask(words, reader) if is_in else NO_ENTRY
                writer.write(encoded(answer))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._there.discard(writer)
            writer.close()


OUTSIDES: Final = {"redis": Redis}

"""What is read from where it is kept: tables, a folder, a topic of Kafka, a stream of Redis; and the clock."""

import asyncio
import time
from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any, ClassVar, Final

import asyncpg
from redis.asyncio import Redis

from tests.contract.outside import SECRET
from tests.contract.outsides import file, kafka, poll
from tests.e2e.fleet.world import Place, World
from tests.peers import postgres_server, redis_server

_OTHER: Final = "another"


class Sqlite(World, poll.Sqlite):
    id = "sqlite"
    peer = "SQLite"
    per_second = 10.0
    can_revoke = True
    more: ClassVar = {"interval": "200ms"}


class Postgres(World):
    """A table into which rows are put. What is revoked is the reader's password, and its connections."""

    id = "postgres"
    kind = "poll"
    peer = "PostgreSQL"
    per_second = 10.0
    can_revoke = True

    @classmethod
    def absent(cls, place: Place) -> str | None:
        return None if postgres_server.BINARIES else "PostgreSQL is not installed: apt-get install postgresql"

    async def open(self) -> None:
        server = postgres_server.Server()
        self.opened.callback(server.remove)
        server.start()
        self._port = server.port
        self._own = await asyncpg.connect(
            host="127.0.0.1", port=self._port, user="me", password=postgres_server.PASSWORD, database="postgres"
        )
        self.opened.push_async_callback(self._own.close)
        await self._own.execute("CREATE TABLE items (n bigint PRIMARY KEY); CREATE ROLE reader LOGIN")
        await self._own.execute("GRANT SELECT ON items TO reader")
        await self.restore()

    @property
    def options(self) -> Mapping[str, Any]:
        url = f"postgresql://reader:{SECRET}@127.0.0.1:{self._port}/postgres?sslmode=disable"
        return {"interval": "200ms", "sql": {"database": url, "table": "items", "column": "n", "id": "n"}}

    async def happen(self, number: int) -> None:
        await self._own.execute("INSERT INTO items VALUES ($1)", number)

    async def revoke(self) -> None:
        await self._password(_OTHER)
        await self._own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")

    async def restore(self) -> None:
        await self._password(SECRET)

    async def _password(self, text: str) -> None:
        await self._own.execute(f"ALTER ROLE reader PASSWORD '{text}'")


class Files(World, file.Folder):
    id = "files"
    peer = "a folder of this machine"
    per_second = 4.0
    can_revoke = True
    more: ClassVar = {"interval": 1, "emit_existing": True}


class Records(World, kafka.Topic):
    """A topic of the broker that everything is on: while it is away nothing happens here."""

    id = "records"
    peer = "Apache Kafka, the broker of the run itself"
    per_second = 20.0


class Entries(World):
    """A stream with a user of its own. What is revoked is that user's password, and its connections."""

    id = "entries"
    kind = "redis"
    peer = "redis-server"
    per_second = 20.0
    can_revoke = True

    @classmethod
    def absent(cls, place: Place) -> str | None:
        return None if redis_server.PROGRAM else "redis-server is not installed: apt-get install redis-server"

    async def open(self) -> None:
        server = redis_server.Server(self.folder)
        self.opened.callback(server.kill)
        server.start()
        self._port = server.port
        self._own = await self.opened.enter_async_context(Redis(port=server.port, protocol=2))
        await self._command("ACL SETUSER reader on ~* &* +@all")
        await self.restore()

    @property
    def options(self) -> Mapping[str, Any]:
        place = {"url": f"redis://127.0.0.1:{self._port}/0", "username": "reader", "password": SECRET}
        return {**place, "streams": ["orders"]}

    async def happen(self, number: int) -> None:
        await self._own.xadd("orders", {"n": str(number)})

    async def revoke(self) -> None:
        await self._command(f"ACL SETUSER reader resetpass >{_OTHER}")
        await self._command("CLIENT KILL USER reader")

    async def restore(self) -> None:
        await self._command(f"ACL SETUSER reader resetpass >{SECRET}")

    async def _command(self, text: str) -> None:
        await self._own.execute_command(*text.split())  # type: ignore[no-untyped-call]


class Clock(World):
    """A tick a second, in seconds since 1970; those that are missed are made up for."""

    id = "clock"
    kind = "cron"
    peer = "the clock of this machine"
    per_second = 0.0

    async def open(self) -> None:
        self._last: int | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        return {"schedule": "1s", "misfire": "all"}

    def number(self, event: Mapping[str, Any]) -> int:
        return round(datetime.fromisoformat(event["data"]["scheduledAt"]).timestamp())

    async def settle(self) -> None:
        self._last = int(time.time())
        await asyncio.sleep(1.0)

    def happened_at(self, number: int) -> float:
        return float(number)

    def count(self, seen: Set[int]) -> int:
        return max(seen) - min(seen) + 1 if seen else 0

    def missing(self, seen: Set[int]) -> set[int]:
        first = min(seen, default=0)
        return set(range(first, max(self._last or 0, max(seen, default=first)) + 1)) - seen

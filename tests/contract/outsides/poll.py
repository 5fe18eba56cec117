"""What is polled: an API that answers with what came after an id, and a table of SQLite."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, ClassVar, Final

from aiohttp import web

from tests.contract.outside import SECRET, Outside
from tests.unit.connectors.poll.api import api

INTERVAL_SECONDS: Final = 0.02


class Rest(Outside):
    kind = "poll"
    refusal = "401"
    edited: ClassVar[Mapping[str, Any]] = {"max_pages": 50}
    page = 3
    """Items of one answer, at most."""

    async def open(self) -> None:
        self._lets_in = True
        self._api = await self.opened.enter_async_context(api(self._answer))

    @property
    def options(self) -> Mapping[str, Any]:
        return {
            "interval": INTERVAL_SECONDS,
            "rest": {
                "url": f"http://{self._api.place}/items?key={SECRET}",
                "headers": {"Authorization": f"Bearer {SECRET}"},
                "items": "items",
                "id": "n",
                "cursor": {"by": "id", "field": "n", "parameter": "after"},
                "paging": {"by": "token", "field": "more", "parameter": "from"},
            },
        }

    async def happen(self, number: int) -> None:
        pass

    async def revoke(self) -> None:
        self._lets_in = False

    async def restore(self) -> None:
        self._lets_in = True

    def _answer(self, request: web.Request) -> Any:
        if not self._lets_in or request.headers.get("Authorization") != f"Bearer {SECRET}":
            return web.Response(status=401)
        first = int(request.query.get("from") or int(request.query.get("after") or 0) + 1)
        page = range(first, min(self.happened, first + self.page - 1) + 1)
        more = {"more": str(page.stop)} if page.stop <= self.happened else {}
        return {"items": [{"n": number} for number in page], **more}


class Sqlite(Outside):
    """What is revoked is the file: there is no password."""

    kind = "poll"
    refusal = "no_file"
    edited: ClassVar[Mapping[str, Any]] = {"max_pages": 50}

    async def open(self) -> None:
        self._file = self.folder / "outside.db"
        self._do("CREATE TABLE items (n INTEGER PRIMARY KEY)")

    @property
    def options(self) -> Mapping[str, Any]:
        table = {"database": f"sqlite:///{self._file}", "table": "items", "column": "n", "overlap": 0}
        return {"interval": INTERVAL_SECONDS, "sql": table}

    async def happen(self, number: int) -> None:
        file = self._file if self._file.exists() else self._file.with_name("away")
        self._do("INSERT INTO items VALUES (?)", number, file=file)

    async def revoke(self) -> None:
        self._file.rename(self._file.with_name("away"))

    async def restore(self) -> None:
        self._file.with_name("away").rename(self._file)

    def _do(self, command: str, *values: int, file: Any = None) -> None:
        with closing(sqlite3.connect(file or self._file)) as connection, connection:
            connection.execute(command, values)


OUTSIDES: Final = {"poll of an API": Rest, "poll of SQLite": Sqlite}

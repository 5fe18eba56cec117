"""Pages of a PostgreSQL table, in transactions that can only read. The egress policy decides where to connect."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from connectors.base.contract import NotConnected, Refused, Site
from connectors.poll import sql, times
from connectors.poll.config import Config, Sql
from connectors.poll.place import Tls, place_of
from connectors.poll.progress import Page, Progress, Value

CONNECT_SECONDS: Final = 15.0
QUERY_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 5.0

_NUMBERS: Final = frozenset({20, 21, 23, 1700})
_TIMES: Final = frozenset({1082, 1114, 1184})
_TEXTS: Final = frozenset({25, 1042, 1043})
_UUID: Final = 2950
_COLUMNS: Final = """
    SELECT attname, atttypid::bigint AS type, format_type(atttypid, NULL) AS name
    FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass($1) AND attnum > 0 AND NOT attisdropped
"""
# What somebody has to mend (PostgreSQL's Appendix A): credentials, names, permissions.
_REFUSED: Final = {
    "28": "unauthorized",
    "3D": "no_database",
    "3F": "table",
    "42": "table",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column that orders rows: its type decides how values become parameters, and how they are compared."""

    name: str
    type: int
    type_name: str

    @property
    def is_time(self) -> bool:
        return self.type in _TIMES

    @property
    def is_text(self) -> bool:
        return self.type in _TEXTS or self.type == _UUID

    def sql(self) -> str:
        # Bytes, as Python compares, whatever the collation of the database.
        return f'{sql.quoted(self.name)} COLLATE "C"' if self.type in _TEXTS else sql.quoted(self.name)

    def place(self, number: int) -> str:
        return f"${number}::text::{self.type_name}"

    def parameter(self, value: Any) -> str:
        return times.text(value, "iso") if self.is_time and isinstance(value, int) else str(value)


class PostgresPages:
    """The pages of a table of PostgreSQL. One connection for a poll."""

    def __init__(self, config: Config, options: Sql, site: Site) -> None:
        self._options, self._site = options, site
        self._place = place_of(options.database.get_secret_value())
        self._connection: Any = None
        self._columns: tuple[_Column, _Column | None] | None = None
        self.policy = sql.policy(config, options)

    def begin(self) -> Progress:
        return Progress(tag=self.policy.tag)

    async def start(self) -> Progress | None:
        """Skip what is there: the newest value is where reading begins."""
        async with self._asking() as connection:
            column, _ = await self._known(connection)
            rows = await self._rows(connection, sql.newest(self._table(), column=column.sql()), [])
        value = sql.value_of(rows[0][self._options.column], self._options) if rows else None
        return sql.skipped(self.begin(), value)

    def fits(self, following: Any) -> bool:
        return sql.fits(following, self._options)

    def now(self) -> Value | None:
        return times.micros(self._site.now()) if self.policy.is_time else None

    async def page(self, progress: Progress) -> Page:
        async with self._asking() as connection:
            column, tie = await self._known(connection)
            since = progress.since(self.policy.overlap)
            values = [] if progress.next is None else progress.next["after"]
            ordering = [column, *([] if tie is None else [tie])]
            text = sql.query(
                self._table(),
                self._options,
                column=column.sql(),
                tie=None if tie is None else tie.sql(),
                since=None if since is None else column.place(1),
                after=[one.place(number) for number, one in enumerate(ordering[: len(values)], 1)],
            )
            given = [one.parameter(value) for one, value in zip(ordering, values, strict=False)]
            if not values and since is not None:
                given = [column.parameter(since)]
            rows = await self._rows(connection, text, given)
        made = sql.records(rows, self._options, is_time=column.is_time)
        return Page(records=made, next=sql.after(rows, made, self._options))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            import asyncpg

            try:
                await connection.close(timeout=CLOSE_SECONDS)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # it is broken already
                connection.terminate()

    def _table(self) -> str:
        return ".".join(map(sql.quoted, self._options.table.split(".")))

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Any]:
        """A transaction that reads. Raises NotConnected and Refused."""
        import asyncpg

        try:
            if self._connection is None:
                self._connection = await self._connected()
            async with self._connection.transaction(readonly=True):
                yield self._connection
        except asyncpg.PostgresError as error:
            raise self._translated(error) from error
        except (asyncpg.InterfaceError, OSError) as error:
            reason = "timeout" if isinstance(error, TimeoutError) else "closed"
            raise NotConnected(f"{self._who()} does not answer: {type(error).__name__}", reason=reason) from error

    async def _known(self, connection: Any) -> tuple[_Column, _Column | None]:
        """Look the columns up, once per source."""
        if self._columns is None:
            options = self._options
            found = {row["attname"]: row for row in await connection.fetch(_COLUMNS, self._table())}
            if not found:
                raise Refused(f"{self._who()} has no table {options.table}", reason="table")
            column = self._column(options.column, found)
            tie = None if options.id in (None, options.column) else self._column(str(options.id), found)
            overlap = sql.overlap(options, is_time=column.is_time, is_text=column.is_text)
            self.policy = replace(self.policy, overlap=overlap, is_time=column.is_time)
            self._columns = column, tie
        return self._columns

    def _column(self, name: str, found: dict[str, Any]) -> _Column:
        row = found.get(name)
        if row is None:
            raise Refused(f"{self._who()}: {self._options.table} has no column {name}", reason="column")
        if row["type"] not in (_NUMBERS | _TIMES | _TEXTS | {_UUID}):
            message = f"{self._who()}: the column {name} is {row['name']}; use whole numbers, times, texts or UUIDs"
            raise Refused(message, reason="column")
        return _Column(name=name, type=row["type"], type_name=row["name"])

    async def _rows(self, connection: Any, text: str, values: list[str]) -> list[dict[str, Any]]:
        statement = await connection.prepare(text)
        jsons = [one.name for one in statement.get_attributes() if one.type.name in ("json", "jsonb")]
        rows = [dict(row) for row in await statement.fetch(*values)]
        for row in rows:
            for name in jsons:
                row[name] = None if row[name] is None else json.loads(row[name])
        self._site.heard(max(1, len(rows)))
        return rows

    # ---- the connection --------------------------------------------------------------------------------------------

    async def _connected(self) -> Any:
        place = self._place
        last: OSError | None = None
        for host, port in await self._site.resolve(place.host, place.port):
            try:
                return await self._connect(host, port, tls=self._tls())
            except ConnectionError as error:  # it takes no TLS, or nobody is there
                last = error
                if place.tls is Tls.PREFER:
                    try:
                        return await self._connect(host, port, tls=False)
                    except OSError as again:
                        last = again
            except OSError as error:
                last = error
        reason = "timeout" if isinstance(last, TimeoutError) else "tls" if isinstance(last, ssl.SSLError) else "refused"
        raise NotConnected(f"{self._who()} cannot be reached: {last}", reason=reason) from last

    async def _connect(self, host: str, port: int, *, tls: ssl.SSLContext | bool) -> Any:
        """Connect to an address. Everything is said, so that nothing is taken from the environment or a home folder."""
        import asyncpg

        return await asyncpg.connect(
            host=host,
            port=port,
            user=self._place.user,
            password=self._place.password,
            database=self._place.name,
            ssl=tls,
            timeout=CONNECT_SECONDS,
            command_timeout=QUERY_SECONDS,
            statement_cache_size=0,  # poolers in between know no prepared statements
            server_settings={"application_name": "headgate"},
            target_session_attrs="any",
        )

    def _tls(self) -> ssl.SSLContext | bool:
        if self._place.tls is Tls.DISABLE:
            return False
        context = _Named(ssl.PROTOCOL_TLS_CLIENT)
        context.name = self._place.host
        if self._place.tls is not Tls.VERIFY_FULL:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self._options.authority is None:
            context.load_default_certs()
        else:
            try:
                context.load_verify_locations(cadata=self._options.authority)
            except (ssl.SSLError, ValueError) as error:
                raise Refused(f"{self._who()}: `authority` has no PEM certificates", reason="options") from error
        return context

    def _translated(self, error: Any) -> NotConnected | Refused:
        state = str(error.sqlstate or "")
        message = f"{self._who()} says: {error}"
        reason = _REFUSED.get(state[:2])
        if reason is not None:
            return Refused(message, reason="permission" if state == "42501" else reason)
        return NotConnected(message, reason=f"sql_{state}" if state else "database")

    def _who(self) -> str:
        return f"source {self._site.instance_id!r}: PostgreSQL at {self._place.host}:{self._place.port}"


class _Named(ssl.SSLContext):
    """A context for a server with a name, though an address of it is connected that was checked before."""

    name: str

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 as the class has it
        server_hostname: str | bytes | None = None,  # noqa: ARG002 an address
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name, session)

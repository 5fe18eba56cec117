"""Pages of a SQLite table. Each is read in a thread, by a connection of its own that can only read.

Which file that is, is up to who writes the options, in folders that the settings allow. Nothing
else can be read this way, not even by way of an error.
"""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from connectors.base.contract import NotConnected, Refused, Site
from connectors.poll import sql
from connectors.poll.config import Config, Sql
from connectors.poll.place import place_of
from connectors.poll.progress import Page, Progress, Value

BUSY_SECONDS: Final = 5.0
QUERY_SECONDS: Final = 60.0
_MAGIC: Final = b"SQLite format 3\0"
_STEPS: Final = 100_000
"""Of SQLite's machine between two looks at the clock: a few milliseconds."""


class SqlitePages:
    """The pages of a table of SQLite."""

    def __init__(self, config: Config, options: Sql, site: Site) -> None:
        self._options, self._site = options, site
        self._path = place_of(options.database.get_secret_value()).file or ""
        overlap = sql.overlap(options, is_time=False, is_text=False)  # of numbers: texts have no differences
        self.policy = replace(sql.policy(config, options), overlap=overlap)

    def begin(self) -> Progress:
        return Progress(tag=self.policy.tag)

    async def start(self) -> Progress | None:
        """Skip what is there: the newest value is where reading begins."""
        rows = await self._rows(sql.newest(self._table(), column=self._column()), [])
        value = sql.value_of(rows[0][self._options.column], self._options) if rows else None
        return sql.skipped(self.begin(), value)

    def fits(self, following: Any) -> bool:
        return sql.fits(following, self._options)

    def now(self) -> Value | None:
        return None

    async def page(self, progress: Progress) -> Page:
        options, since = self._options, progress.since(self.policy.overlap)
        values = [] if progress.next is None else progress.next["after"]
        tie = None if options.id in (None, options.column) else sql.quoted(str(options.id))
        text = sql.query(
            self._table(),
            options,
            column=self._column(),
            tie=tie,
            since=None if since is None else "?",
            after=["?"] * len(values),
        )
        rows = await self._rows(text, values or ([] if since is None else [since]))
        made = sql.records(rows, options, is_time=False)
        return Page(records=made, next=sql.after(rows, made, options))

    async def close(self) -> None:
        """Nothing is open between pages."""

    def _table(self) -> str:
        return sql.quoted(self._options.table)

    def _column(self) -> str:
        return f"{sql.quoted(self._options.column)} COLLATE BINARY"

    async def _rows(self, text: str, values: list[Any]) -> list[dict[str, Any]]:
        reading = _Reading(self._path, self._options, self._site)
        try:
            rows: list[dict[str, Any]] = await self._site.in_thread(reading.rows, text, values)
        except asyncio.CancelledError:
            reading.stop()
            raise
        self._site.heard(max(1, len(rows)))
        return rows


class _Reading:
    """One query, in a thread."""

    def __init__(self, path: str, options: Sql, site: Site) -> None:
        self._path, self._options, self._site = path, options, site
        self._until = site.monotonic() + QUERY_SECONDS
        self._is_stopped = False

    def stop(self) -> None:
        self._is_stopped = True

    def rows(self, text: str, values: list[Any]) -> list[dict[str, Any]]:
        """Raises NotConnected and Refused."""
        self._check_file()
        try:
            connection = sqlite3.connect(f"file:{quote(self._path)}?mode=ro", uri=True, timeout=BUSY_SECONDS)
            try:
                return self._asked(connection, text, values)
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise self._not_connected(error) from error
        except sqlite3.DatabaseError as error:
            raise Refused(f"{self._who()} cannot be read: {error}", reason="database") from error

    def _asked(self, connection: sqlite3.Connection, text: str, values: list[Any]) -> list[dict[str, Any]]:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.text_factory = lambda raw: raw.decode(errors="replace")
        connection.set_progress_handler(self._is_over, _STEPS)
        self._check_names(connection)
        cursor = connection.execute(text, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _check_names(self, connection: sqlite3.Connection) -> None:
        """SQLite takes a quoted name that it does not know for a text: a misspelt column would compare as one."""
        found = {row[0] for row in connection.execute("SELECT name FROM pragma_table_xinfo(?)", [self._options.table])}
        if not found:
            raise Refused(f"{self._who()} has no table {self._options.table}", reason="table")
        for name in (self._options.column, self._options.id):
            if name is not None and name not in found:
                raise Refused(f"{self._who()}: {self._options.table} has no column {name}", reason="column")

    def _check_file(self) -> None:
        self._site.permit(self._path)
        try:
            path = Path(self._path)
            if not path.is_file():
                raise Refused(f"{self._who()} is no file; check the path", reason="no_file")
            with path.open("rb") as opened:
                head = opened.read(len(_MAGIC))
        except OSError as error:
            raise Refused(f"{self._who()} cannot be read: {error.strerror}", reason="no_file") from error
        if head not in (_MAGIC, b""):
            raise Refused(f"{self._who()} is no SQLite database", reason="no_file")

    def _is_over(self) -> bool:
        return self._is_stopped or self._site.monotonic() > self._until

    def _not_connected(self, error: sqlite3.OperationalError) -> NotConnected:
        words = str(error)
        reason = "timeout" if "interrupt" in words else "locked" if "locked" in words else "database"
        return NotConnected(f"{self._who()} cannot be read now: {words}", reason=reason)

    def _who(self) -> str:
        return f"source {self._site.instance_id!r}: the database {self._path}"

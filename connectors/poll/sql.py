"""What PostgreSQL and SQLite have in common: names, the query of a page, values of the cursor, rows as JSON. Pure.

Rows are read in the order of (column, id), so a page ends in the middle of equal values without losing any: the next
one begins after the last pair. Names are quoted, values are parameters; nothing of a user becomes SQL.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from connectors.base.contract import Refused
from connectors.base.instance.events import bounded_id
from connectors.poll import times
from connectors.poll.config import Config, Sql
from connectors.poll.progress import Policy, Progress, Record, Tells, Value

NUMBER_OVERLAP: Final = 100
TIME_OVERLAP_SECONDS: Final = 60.0
_LARGEST: Final = 2**63


def quoted(name: str) -> str:
    """Write a name as SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def query(table: str, options: Sql, *, column: str, tie: str | None, since: str | None, after: Sequence[str]) -> str:
    """Return the query of a page. `column` and `tie` are SQL, `since` and `after` the parameters' places."""
    order = [column, *([] if tie is None else [tie])]
    where = f"{column} IS NOT NULL"
    if after:
        left, right = ", ".join(order[: len(after)]), ", ".join(after)
        where += f" AND ({left}) > ({right})"
    elif since is not None:
        where += f" AND {column} >= {since}"
    return f"SELECT * FROM {table} WHERE {where} ORDER BY {', '.join(order)} LIMIT {options.limit}"


def newest(table: str, *, column: str) -> str:
    """Return the query of the newest row."""
    return f"SELECT * FROM {table} WHERE {column} IS NOT NULL ORDER BY {column} DESC LIMIT 1"


def policy(config: Config, options: Sql) -> Policy:
    """How rows are told apart, as far as that is known before the table is."""
    return Policy(
        tag=f"sql {options.table} {options.column}", tells=Tells.VALUE, is_quiet_first=config.existing == "skip"
    )


def overlap(options: Sql, *, is_time: bool, is_text: bool) -> int:
    """Return how much is read again, in the unit of values."""
    if is_text:
        return 0
    if is_time:
        return int((TIME_OVERLAP_SECONDS if options.overlap is None else options.overlap) * 1_000_000)
    return int(NUMBER_OVERLAP if options.overlap is None else options.overlap)


def skipped(progress: Progress, value: Value | None) -> Progress:
    """Return what is known once everything up to a value was skipped."""
    return Progress(tag=progress.tag, cursor=value, floor=value, is_first=False)


def value_of(found: Any, options: Sql) -> Value:
    """Return the value of the cursor that a row has. Raises Refused for a column that cannot be one."""
    if isinstance(found, Decimal | float) and math.isfinite(found) and int(found) == found:
        found = int(found)
    if isinstance(found, int) and not isinstance(found, bool) and abs(found) < _LARGEST:
        return found
    if isinstance(found, datetime):
        return times.micros(found)
    if isinstance(found, date):
        return times.micros(datetime(found.year, found.month, found.day))  # noqa: DTZ001 a day in UTC
    if isinstance(found, str | UUID):
        return str(found)
    message = (
        f"the column {options.column} of {options.table} has {type(found).__name__}; use whole numbers, times or texts"
    )
    raise Refused(message, reason="column")


def records(rows: Sequence[Mapping[str, Any]], options: Sql, *, is_time: bool) -> list[Record]:
    """Return rows as records. Raises Refused where the column is not unique and no id tells the rows apart."""
    made: list[Record] = []
    for row in rows:
        value = value_of(row[options.column], options)
        shown = times.text(value, "iso") if is_time and isinstance(value, int) else str(value)
        data = {name: jsonable(one) for name, one in row.items()}
        if options.id is None or options.id == options.column:
            if made and made[-1].value == value:
                message = (
                    f"the column {options.column} of {options.table} has the value {shown[:100]} twice; "
                    "name a unique column as `id`"
                )
                raise Refused(message, reason="column")
            made.append(Record(event_id=bounded_id(shown), data=data, key=bounded_id(shown), value=value))
            continue
        name = row[options.id]
        if name is None:
            made.append(Record(event_id=f"null@{shown}", data=data, value=value, problem=f"its {options.id} is null"))
            continue
        key = bounded_id(str(jsonable(name)))
        made.append(Record(event_id=f"{key}@{bounded_id(shown)}", data=data, key=key, value=value))
    return made


def after(rows: Sequence[Mapping[str, Any]], made: Sequence[Record], options: Sql) -> Any:
    """Return what leads to the next page: the last value and id; None after a page that is not full."""
    if len(rows) < options.limit:
        return None
    last = made[-1].value
    if options.id is None or options.id == options.column:
        return {"after": [last]}
    tie = rows[-1][options.id]
    if isinstance(tie, bytes | float):
        message = f"the column {options.id} of {options.table} has {type(tie).__name__}; use whole numbers or texts"
        raise Refused(message, reason="column")
    return {"after": [last, jsonable(tie)]}


def fits(following: Any, options: Sql) -> bool:
    """Tell whether a position's next page is one of these options."""
    wanted = 1 if options.id is None or options.id == options.column else 2
    match following:
        case {"after": list(values)}:
            return len(values) == wanted
    return False


def jsonable(value: Any) -> Any:
    """Return a value of a database as JSON: exact numbers, and what JSON has not, are texts; bytes are base64."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Mapping():
            return {str(name): jsonable(one) for name, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [jsonable(one) for one in value]
        case _ if hasattr(value, "items"):  # rows within rows: asyncpg's are no Mapping
            return {str(name): jsonable(one) for name, one in value.items()}
        case _ if hasattr(value, "lower_inc"):
            if value.isempty:
                return None
            ends = {"lower": value.lower, "upper": value.upper}
            return {name: jsonable(one) for name, one in ends.items()} | {
                "lower_inc": value.lower_inc,
                "upper_inc": value.upper_inc,
            }
        case _ if hasattr(value, "as_string"):  # bits
            return str(value.as_string())
        case _:
            return str(value)

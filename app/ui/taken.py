"""Which of Kafka's records the read model takes, and the form in which SQLite gets them."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import orjson

from app.observe import logs
from topics.fields import opens_beyond_depth

LEVELS_AROUND: Final = 10
"""Of objects and lists in an answer around what a record holds: orjson writes 254 in all."""

log = logs.get(__name__)


class Record(Protocol):
    """A record of Kafka."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


def understood(records: Sequence[Record]) -> list[tuple[Record, Any]]:
    """Return the records whose values orjson reads, and writes again as a part of an answer, with what it reads: SQLite
    alone is content with less.
    """
    return [(record, found) for record in records if (found := _read(record)) is not None]


def lasting(facts: Sequence[tuple[Record, Any]]) -> list[Record]:
    """Return the facts without those of runs that begin and end among them: nothing is to be known of what such a run
    does. As a rule that is nearly all of them.
    """
    begun: set[str] = set()
    over: set[str] = set()
    runs = [str(found.get("run_id")) if type(found) is dict else "" for _, found in facts]
    for (_, found), run_id in zip(facts, runs, strict=True):
        what = found.get("fact") if run_id else None
        if what == "run_started":
            begun.add(run_id)
        if what == "run_finished":
            over.add(run_id)
        else:
            over.discard(run_id)
    brief = begun & over
    return [record for (record, _), run_id in zip(facts, runs, strict=True) if run_id not in brief]


def _read(record: Record) -> Any:
    """Return the record's value; None where it has none, is null, or cannot be read."""
    value = record.value
    if not value:
        return None
    try:
        found = orjson.loads(value)
        if opens_beyond_depth(value, len(value), len(value)):
            around = found
            for _ in range(LEVELS_AROUND):
                around = [around]
            orjson.dumps(around)
    except (orjson.JSONDecodeError, TypeError) as error:
        log.warning("record_not_understood", partition=record.partition, offset=record.offset, reason=str(error))
        return None
    return found


def array_of(records: Sequence[Record]) -> str:
    """Return the JSON that the statements of `app.ui.schema` take."""
    parts = [b"[%d,%d,%b]" % (one.partition, one.offset, one.value or b"") for one in records]
    return (b"[" + b",".join(parts) + b"]").decode(errors="replace")

"""Which of Kafka's records the read model takes, and the form in which SQLite gets them."""

from collections.abc import Sequence
from typing import Final, Protocol

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


def is_understood(record: Record) -> bool:
    """Whether orjson reads the value, and writes it again as a part of an answer: SQLite alone is content with less."""
    value = record.value
    if not value:
        return False
    try:
        found = orjson.loads(value)
        if opens_beyond_depth(value, len(value), len(value)):
            for _ in range(LEVELS_AROUND):
                found = [found]
            orjson.dumps(found)
    except (orjson.JSONDecodeError, TypeError) as error:
        log.warning("record_not_understood", partition=record.partition, offset=record.offset, reason=str(error))
        return False
    return True


def array_of(records: Sequence[Record]) -> str:
    """Return the JSON that the statements of `app.ui.schema` take."""
    parts = [b"[%d,%d,%b]" % (one.partition, one.offset, one.value or b"") for one in records]
    return (b"[" + b",".join(parts) + b"]").decode(errors="replace")

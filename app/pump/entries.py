"""A commit's records as the log takes them."""

from collections.abc import Mapping, Sequence

from app.engine.effects import Placed
from app.kafka.log import Entry


def place(entries: Sequence[Entry], offset: int, placed: Mapping[bytes, Placed]) -> None:
    """Tell those whose records are among `entries`, of which the first has this offset, where they are."""
    for at, entry in enumerate(entries, offset):
        if entry.value is not None and (one := placed.get(entry.key or b"")) is not None:
            one.offset = at


def batches(ahead: Sequence[tuple[bytes, bytes | None]], most_bytes: int = 4 * 1024 * 1024) -> list[list[Entry]]:
    made: list[list[Entry]] = []
    size = most_bytes
    for key, value in ahead:
        length = len(key) + len(value or b"")
        if size + length > most_bytes:
            made.append([])
            size = 0
        made[-1].append(Entry(key, value))
        size += length
    return made

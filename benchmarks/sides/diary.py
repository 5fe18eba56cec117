"""The diary of durable runs: what a side's code did, for which run, when; one line for each, whatever the side.

Appended by one small write, so that it costs every side the same microsecond, no memory, and survives kill -9. The
harness reads it: each step ran once, when a wait was met, how late a timer was. Times are of the monotonic clock.
"""

import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

VARIABLE: Final = "BENCH_DIARY"
_LINE: Final = struct.Struct("<16sIq")

# Marks from 1 to 1,000 are steps by their number.
PARKED: Final = 10_001
WOKEN: Final = 10_002
RANG: Final = 10_003


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened in a run."""

    run_id: str
    mark: int
    at_ns: int


class Pen:
    """Writes into the diary that the environment names; without one, nowhere."""

    def __init__(self) -> None:
        path = os.environ.get(VARIABLE)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if path else None

    def note(self, run_id: str, mark: int) -> None:
        """Write a line. Ids have 16 characters, as `benchmarks.events` makes them."""
        if self._file is not None:
            os.write(self._file, _LINE.pack(run_id.encode(), mark, time.monotonic_ns()))


class Reader:
    """Reads what has been added since it last looked."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")

    def new(self) -> Iterator[Line]:
        """Yield the lines that are whole by now."""
        while block := self._file.read(_LINE.size * 8_192):
            whole = len(block) - len(block) % _LINE.size
            self._file.seek(whole - len(block), os.SEEK_CUR)
            for run_id, mark, at_ns in _LINE.iter_unpack(block[:whole]):
                yield Line(run_id.rstrip(b"\0").decode(), mark, at_ns)
            if not whole:
                return

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

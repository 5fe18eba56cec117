"""Bytes of an event stream to events, by the standard (WHATWG HTML, 9.2.5 and 9.2.6, "Server-sent events"). Pure.

A parser belongs to one connection. Bytes may come in any pieces, the events are the same. An event that is larger than
allowed is cut off while it comes and told as such, so memory is bounded by that size.
"""

from dataclasses import dataclass
from typing import Final

BEGINNING_BYTES: Final = 16 * 1024
"""So much of the data is kept of an event that is too large."""
MOST_RETRY_MS: Final = 10**12
"""What `retry` says at most, however many digits it has."""
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_PREFIX: Final = b"data: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What an empty line has ended. `own_id` is the id that stands in it, None without one."""

    event_type: str
    data: str
    own_id: str | None
    last_event_id: str
    """What counts after it, whether it stands in it or in an earlier one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooLarge:
    """An event that was cut off."""

    event_type: str
    beginning: bytes
    size_bytes: int
    own_id: str | None
    last_event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """No event, for there was no data; but another id counts now."""

    last_event_id: str


Block = Event | TooLarge | Moved


class Parser:
    """Reads one stream. `retry_ms` is the reconnection time that it asks for, None until it does."""

    def __init__(self, *, last_event_id: str = "", max_event_bytes: int) -> None:
        self.retry_ms: int | None = None
        self._most = max_event_bytes
        self._most_of_line = max_event_bytes + len(_LONGEST_PREFIX)
        self._start: bytes | None = b""
        """The first bytes until it is known whether they are a byte order mark, then None."""
        self._after_cr = False
        self._line = bytearray()
        """The line that goes on with the next bytes; its beginning, where it is too long."""
        self._line_bytes = 0
        self._committed = self._id = last_event_id
        self._data: list[bytes] = []
        self._clear()

    def _clear(self) -> None:
        self._data.clear()
        self._data_bytes = 0
        self._cut = False
        self._type = b""
        self._own_id: str | None = None

    def feed(self, chunk: bytes) -> list[Block]:
        """Return what ends in `chunk`."""
        if self._start is not None:
            chunk = self._after_bom(self._start + chunk)
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        found: list[Block] = []
        if not chunk:
            return found
        lines = chunk.splitlines()  # of bytes: CR, LF and CRLF alone
        self._after_cr = chunk.endswith(b"\r")
        rest = None if self._after_cr or chunk.endswith(b"\n") else lines.pop()
        for line in lines:
            if self._line_bytes or len(line) > self._most_of_line:
                self._grow(line)
                line, size_bytes = bytes(self._line), self._line_bytes
                self._line.clear()
                self._line_bytes = 0
                if size_bytes > self._most_of_line:
                    self._read_long(line, size_bytes)
                    continue
            if line:
                self._read(line)
            else:
                self._end(found)
        if rest is not None:
            self._grow(rest)
        return found

    def _after_bom(self, start: bytes) -> bytes:
        if len(start) < len(_BOM) and _BOM.startswith(start):
            self._start = start
            return b""
        self._start = None
        return start.removeprefix(_BOM)

    def _grow(self, part: bytes) -> None:
        """Add to the line; of what is too long keep the beginning alone."""
        self._line_bytes += len(part)
        self._line += part
        if self._line_bytes > self._most_of_line:
            del self._line[BEGINNING_BYTES + len(_LONGEST_PREFIX) :]

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._add(value, len(value))
            case b"event":
                self._type = value
            case b"id" if b"\0" not in value:
                self._id = _text(value)
                self._own_id = self._id or None
            case b"retry" if value.isdigit():
                digits = value.lstrip(b"0")
                self.retry_ms = int(digits or b"0") if len(digits) <= 12 else MOST_RETRY_MS

    def _read_long(self, beginning: bytes, size_bytes: int) -> None:
        """A line that is longer than an event may be: it is too much data, or nothing that matters."""
        name, _, value = beginning.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add(value, size_bytes - len(beginning) + len(value))

    def _add(self, value: bytes, size_bytes: int) -> None:
        self._data_bytes += size_bytes + 1
        if self._data_bytes <= self._most + 1:
            self._data.append(value)
        elif not self._cut:
            self._cut = True
            self._data = [b"\n".join([*self._data, value])[:BEGINNING_BYTES]]

    def _end(self, found: list[Block]) -> None:
        """An empty line: dispatch the event."""
        has_moved, self._committed = self._id != self._committed, self._id
        if self._cut:
            found.append(
                TooLarge(
                    event_type=_text(self._type) or "message",
                    beginning=self._data[0],
                    size_bytes=self._data_bytes - 1,
                    own_id=self._own_id,
                    last_event_id=self._id,
                )
            )
        elif self._data:
            found.append(
                Event(
                    event_type=_text(self._type) or "message",
                    data=_text(b"\n".join(self._data)),
                    own_id=self._own_id,
                    last_event_id=self._id,
                )
            )
        elif has_moved:
            found.append(Moved(last_event_id=self._id))
        self._clear()


def _text(value: bytes) -> str:
    """Decode a whole line; no invalid byte reaches over its end, so this is what decoding the stream comes to."""
    return value.decode("utf-8", "replace")

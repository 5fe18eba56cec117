"""Hostile records as data, for unit tests of the codec and for end-to-end tests through console producer and HTTP.

A file is `{"meaning", "records": [{"name", "key"?, "value", "headers"?, "expected"}]}`. Bytes are null, a text (UTF-8),
`{"base64": …}`, `{"repeat": text, "times": n}`, or a list of these, to be joined. `expected` is "event" or the code of
the dead letter, with a limit of 1 MiB a record.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

MAX_BYTES: Final = 1024 * 1024


class Case(NamedTuple):
    """One hostile record."""

    name: str
    """File and name: unique."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    expected: str

    @property
    def fits_a_line(self) -> bool:
        """Whether the console producer can send it: a line of text, no headers."""
        value = self.value
        return value is not None and self.key is None and not self.headers and not {10, 13} & set(value)


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for path in sorted(Path(__file__).parent.glob("*.json")):
        for record in json.loads(path.read_text())["records"]:
            yield Case(
                name=f"{path.stem}: {record['name']}",
                key=_bytes(record.get("key")),
                value=_bytes(record["value"]),
                headers=tuple((name, _bytes(raw)) for name, raw in record.get("headers", [])),
                expected=record["expected"],
            )


def _bytes(found: Any) -> bytes | None:
    match found:
        case None:
            return None
        case str():
            return found.encode()
        case {"base64": text}:
            return b64decode(text)
        case {"repeat": text, "times": times}:
            return str(text).encode() * int(times)
        case list():
            return b"".join(_bytes(part) or b"" for part in found)
    raise ValueError(f"not bytes: {found!r}")


CASES: Final = tuple(cases())

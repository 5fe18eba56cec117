"""A second reader of event streams, as slow and as close to the words of the standard as can be.

`python -m tests.unit.connectors.http_stream.reference --inputs 1000000` compares random inputs with our parser.
"""

import argparse
import random
import re
import sys
from typing import Final

from connectors.http_stream import parser

MOST: Final = 1024 * 1024
PIECES: Final = (
    *(b"data", b"event", b"id", b"retry", b"Data", b"dat", b"x", b"\xef\xbb\xbf", b"5", b"007", b"\0"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b":", b": ", b":  ", b" ", b"\t"),
    *("é".encode(), "\u2028".encode(), "\u0085".encode(), b"\x0b", b"\x0c", b"\x1c", b"\xff", b"\xc3", b"\xe2\x80"),
)

Told = tuple[str, str, str, str]
"""What a block is, its type, its data, and the last event id after it."""


def read(stream: bytes, last_event_id: str = "") -> tuple[list[Told], int | None]:
    """Return what is told of a whole stream, and its reconnection time."""
    told: list[Told] = []
    text = re.sub("\r\n|\r", "\n", stream.decode("utf-8", "replace").removeprefix("\ufeff"))
    data, event_type, retry, identity = "", "", None, last_event_id
    for line in text.split("\n")[:-1]:
        match = re.fullmatch("([^:]*):? ?(.*)", line, re.DOTALL)
        assert match is not None
        field, value = match.groups()
        if not line:
            if data:
                told.append(("event", event_type or "message", data[:-1], identity))
            elif identity != last_event_id:
                told.append(("moved", "", "", identity))
            last_event_id, data, event_type = identity, "", ""
        elif ":" not in line:
            field, value = line, ""
        if field == "data" and line:
            data += value + "\n"
        elif field == "event":
            event_type = value
        elif field == "id" and "\0" not in value:
            identity = value
        elif field == "retry" and re.fullmatch("[0-9]+", value):
            retry = int(value)
    return told, retry


def ours(chunks: list[bytes], last_event_id: str = "") -> tuple[list[Told], int | None]:
    """Return the same by our parser."""
    reading = parser.Parser(last_event_id=last_event_id, max_event_bytes=MOST)
    return [told(block) for chunk in chunks for block in reading.feed(chunk)], reading.retry_ms


def told(block: parser.Block) -> Told:
    match block:
        case parser.Event():
            return "event", block.event_type, block.data, block.last_event_id
        case parser.TooLarge():
            return "too large", block.event_type, block.beginning.decode(errors="replace"), block.last_event_id
        case parser.Moved():
            return "moved", "", "", block.last_event_id


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--inputs", type=int, default=1_000_000)
    arguments.add_argument("--seed", type=int, default=1)
    chosen = arguments.parse_args()
    chance = random.Random(chosen.seed)
    for number in range(chosen.inputs):
        chunks = [b"".join(chance.choices(PIECES, k=chance.randrange(6))) for _ in range(chance.randrange(12))]
        if ours(chunks) != read(b"".join(chunks)):
            print(f"input {number} differs: {chunks!r}\nours: {ours(chunks)}\nnot:  {read(b''.join(chunks))}")
            return 1
    print(f"{chosen.inputs:,} inputs, none differs")
    return 0


if __name__ == "__main__":
    sys.exit(main())

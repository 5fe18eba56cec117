"""What is known of a folder: the path of every file, and a digest of the state in which its last event found it.

That is the position of the source. With names it takes 7 to 30 bytes a file, which is enough for 100,000 files; where
that is too much for a position, names become digests too, and a file takes less than 8.3 bytes. All changes are found
then as well, but of a file that is deleted while nobody looks the name is not known any more.
"""

import base64
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final

import orjson

from connectors.file.folder import Seen
from connectors.file.selection import Selection
from topics.sources import POSITION_BYTES

FORMAT: Final = 1
STATE_BYTES: Final = 5
"""A change is overlooked with a chance of one in 10^12."""
SHORT_BYTES: Final = 3
"""The same where names do not fit: one in 16 million, for changes while nobody looks."""
NAME_BYTES: Final = 5
"""A new name is taken for one of 100,000 known ones with a chance of one in 10^7: its event is an update then."""
MOST_FILES: Final = POSITION_BYTES // 8


class TooLarge(Exception):
    """There are more files than a position has room for."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What is known of a folder. `files` has the state of each, `unnamed` states by digests of names."""

    folder: str
    """Digest of the folder's path."""
    selection: Selection
    inode: int | None = None
    """Of the folder itself."""
    is_mount: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    unnamed: dict[bytes, list[bytes]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.files) + sum(map(len, self.unnamed.values()))


def state_of(seen: Seen) -> bytes:
    """Return the digest of a file's state."""
    return blake2b(b"%d %d %d" % seen, digest_size=STATE_BYTES).digest()


def name_of(path: str) -> bytes:
    """Return the digest of a path."""
    return blake2b(os.fsencode(path), digest_size=NAME_BYTES).digest()


def folder_of(path: str) -> str:
    """Name a folder in positions, to notice that the option was edited."""
    return blake2b(os.fsencode(path), digest_size=8).hexdigest()


def encode(known: Known, *, most_bytes: int = POSITION_BYTES) -> dict[str, Any]:
    """Return the position, with names if they fit. Raises TooLarge."""
    position = {
        "format": FORMAT,
        "folder": known.folder,
        "selection": known.selection.as_json(),
        "inode": known.inode,
        "is_mount": known.is_mount,
        "count": len(known),
    }
    if not known.unnamed:
        named = {**position, **_with_names(known.files)}
        if len(orjson.dumps(named)) <= most_bytes:
            return named
    unnamed = {**position, **_without_names(known)}
    if len(orjson.dumps(unnamed)) <= most_bytes:
        return unnamed
    raise TooLarge(f"{len(known)} files are more than a position of {most_bytes} bytes has room for")


def decode(position: Any) -> Known | None:
    """Return what a position says, None for none. Raises ValueError for one that is none of ours."""
    if position is None:
        return None
    match position:
        case {
            "format": int(version),
            "folder": str(folder),
            "selection": selection,
            "inode": int() | None as inode,
            "is_mount": bool(is_mount),
            "states": str(states),
        } if version == FORMAT:
            known = Known(folder=folder, selection=Selection.of(selection), inode=inode, is_mount=is_mount)
        case _:
            raise ValueError("it has not the fields of a folder's position")
    try:
        raw = base64.b64decode(states, validate=True)
        if "names" in position:
            names = _names(zlib.decompress(base64.b64decode(position["names"], validate=True)))
            known.files = dict(zip(names, _pieces(raw, STATE_BYTES), strict=True))
        else:
            for name, one in zip(_digests(position), _pieces(raw, SHORT_BYTES), strict=True):
                known.unnamed.setdefault(name, []).append(one)
    except (IndexError, KeyError, TypeError, zlib.error) as error:
        raise ValueError("its files cannot be read") from error
    return known


# ---- with names ------------------------------------------------------------------------------------------------------


def _with_names(files: dict[str, bytes]) -> dict[str, str]:
    """Sorted, each as how much of the one before it begins with, and its rest: numbered names become almost nothing."""
    sorted_files = sorted((os.fsencode(path), state) for path, state in files.items())
    parts, before = [], b""
    for name, _ in sorted_files:
        same = _common(before, name)
        parts.append(b"%c%b" % (same + 1, name[same:]))  # not 0, which ends a name
        before = name
    return {
        "names": _text(zlib.compress(b"\0".join(parts))),
        "states": _text(b"".join(state for _, state in sorted_files)),
    }


def _common(one: bytes, other: bytes) -> int:
    most = min(len(one), len(other), 254)
    at = 0
    while at < most and one[at] == other[at]:
        at += 1
    return at


def _names(raw: bytes) -> Iterable[str]:
    before = b""
    for part in raw.split(b"\0") if raw else ():
        before = before[: part[0] - 1] + part[1:]
        yield os.fsdecode(before)


# ---- without names ---------------------------------------------------------------------------------------------------


def _without_names(known: Known) -> dict[str, str]:
    """Digests of names, sorted, as differences: their upper parts are small numbers, and compress to almost nothing."""
    pairs = [(int.from_bytes(name_of(path)), state[:SHORT_BYTES]) for path, state in known.files.items()]
    pairs += [(int.from_bytes(name), state) for name, states in known.unnamed.items() for state in states]
    pairs.sort()
    steps = [after - before for before, after in pairwise([0, *(name for name, _ in pairs)])]
    upper = b"".join((step >> 24).to_bytes(2) for step in steps)
    return {
        "upper": _text(zlib.compress(upper, 9)),
        "lower": _text(b"".join((step & 0xFFFFFF).to_bytes(3) for step in steps)),
        "states": _text(b"".join(state for _, state in pairs)),
    }


def _digests(position: dict[str, Any]) -> Iterable[bytes]:
    upper = _pieces(zlib.decompress(base64.b64decode(position["upper"], validate=True)), 2)
    lower = _pieces(base64.b64decode(position["lower"], validate=True), 3)
    name = 0
    for high, low in zip(upper, lower, strict=True):
        name += int.from_bytes(high) << 24 | int.from_bytes(low)
        yield name.to_bytes(NAME_BYTES)


def _pieces(raw: bytes, size: int) -> list[bytes]:
    return [raw[at : at + size] for at in range(0, len(raw), size)]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()

"""Buckets that are listed again and again, and what has changed between two looks. For `s3` and `gcs`.

What is known of a bucket is the position of its source: every name, and a digest of the version that was seen. Names
are written as what differs from the one before, and compressed: 7 bytes an object where names are numbered, 34 where
they are random, so that 120,000 to 600,000 objects fit. For more there is a queue of notifications, or names that grow.
"""

import base64
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, Protocol, cast

import orjson

from connectors.base.contract import Item, Moved, Received, Refused, Site
from topics.sources import POSITION_BYTES

MOST_BYTES: Final = POSITION_BYTES
DIGEST_BYTES: Final = 5
"""A change is overlooked with a chance of one in 10^12."""
MOST_OBJECTS: Final = MOST_BYTES * 3 // 4 // DIGEST_BYTES
STORE_EVERY: Final = 10_000
"""Events after which a look that found many stores where it is."""
_FORMAT: Final = 1


class Change(StrEnum):
    """What happened to an object: the types of the events."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One object as a listing has it. `version` is a text that differs whenever the object does."""

    key: str
    version: str
    size_bytes: int
    changed_at: datetime | None
    about: Mapping[str, Any]
    """Data of its event."""


def digest(version: str) -> bytes:
    """Return what is known of a version."""
    return blake2b(version.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


# ---- the position ----------------------------------------------------------------------------------------------------


def encode(known: Mapping[str, bytes], of: str) -> dict[str, Any]:
    """Return the position for what is known of a bucket; `of` names the bucket and which part of it is listed."""
    names = sorted((key.encode(errors="surrogatepass"), version) for key, version in known.items())
    parts, before = [], b""
    for name, _ in names:
        same = _common(before, name)
        parts += [_number(same), _number(len(name) - same), name[same:]]
        before = name
    return {
        "format": _FORMAT,
        "of": of,
        "objects": len(names),
        "names": _text(zlib.compress(b"".join(parts), 9)),
        "versions": _text(b"".join(version for _, version in names)),
    }


def decode(position: Any, of: str) -> dict[str, bytes] | None:
    """Return what a position knows; None where it is of another bucket, or none of ours."""
    if not isinstance(position, dict) or position.get("format") != _FORMAT or position.get("of") != of:
        return None
    names = memoryview(zlib.decompress(base64.b64decode(position["names"])))
    versions = base64.b64decode(position["versions"])
    known: dict[str, bytes] = {}
    before, at = b"", 0
    for start in range(0, len(versions), DIGEST_BYTES):
        same, at = _read(names, at)
        more, at = _read(names, at)
        before = before[:same] + bytes(names[at : at + more])
        at += more
        known[before.decode(errors="surrogatepass")] = versions[start : start + DIGEST_BYTES]
    return known


def _common(one: bytes, other: bytes) -> int:
    most = min(len(one), len(other))
    for at in range(most):
        if one[at] != other[at]:
            return at
    return most


def _number(value: int) -> bytes:
    """A number of 7 bits a byte, the lowest first (LEB128)."""
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _read(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


# ---- looking ---------------------------------------------------------------------------------------------------------


class Bucket(Protocol):
    """A bucket, or the part of it that begins with a prefix."""

    @property
    def of(self) -> str:
        """Names it in positions: what is known of another one means nothing here."""
        ...

    def pages(self, after: str | None) -> AsyncIterator[Sequence[Entry]]:
        """Yield its objects in the order of their names, only those after a name if one is given."""
        ...

    async def event(self, change: Change, entry: Entry) -> Received:
        """Return the event of an object that is new or changed."""
        ...

    def gone(self, key: str, version: str) -> Received:
        """Return the event of an object that is not there any more; `version` is the digest of what was seen last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """How a bucket is looked at, again and again."""

    bucket: Bucket
    site: Site
    interval_seconds: float
    existing: bool
    """Whether what is there at the very first look are events."""

    async def changes(self) -> AsyncGenerator[Item, None]:
        """Yield what is new, changed and gone since the last look. Raises what the bucket raises, and Refused."""
        known = await self.site.in_thread(decode, self.site.position, self.bucket.of)
        looks = 0
        while True:
            looks += 1
            silent = known is None and not self.existing
            before: dict[str, bytes] = {} if known is None else known
            changed: list[tuple[Change, Entry]] = []
            present: dict[str, bytes] = {}
            async for page in self._pages(None, first=looks == 1):
                for entry in page:
                    seen = present[entry.key] = digest(entry.version)
                    if not silent and before.get(entry.key) != seen:
                        changed.append((Change.UPDATE if entry.key in before else Change.CREATE, entry))
                if len(present) > MOST_OBJECTS:
                    raise self._too_many(len(present))
            if known is None or present != before:
                end = await self._position(present)
                for number, (change, entry) in enumerate(changed, start=1):
                    yield await self.bucket.event(change, entry)
                    before[entry.key] = present[entry.key]
                    if number % STORE_EVERY == 0:
                        yield Moved(position=await self._position(before))
                for key in [key for key in before if key not in present]:
                    yield self.bucket.gone(key, before[key].hex())
                yield Moved(position=end)
            known = present
            await self.site.sleep(self.interval_seconds)

    async def later(self) -> AsyncGenerator[Item, None]:
        """Yield objects whose names come after all that were seen. Raises what the bucket raises."""
        position = self.site.position
        ours = isinstance(position, dict) and position.get("of") == self.bucket.of
        after = str(position.get("after", "")) if ours else None
        silent, looks = after is None and not self.existing, 0
        while True:
            looks += 1
            async for page in self._pages(after or None, first=looks == 1):
                for entry in page:
                    after = entry.key
                    if not silent:
                        yield replace(await self.bucket.event(Change.CREATE, entry), position=self._after(after))
            if silent:
                yield Moved(position=self._after(after or ""))
            silent = False
            await self.site.sleep(self.interval_seconds)

    async def _pages(self, after: str | None, *, first: bool) -> AsyncIterator[Sequence[Entry]]:
        async for page in self.bucket.pages(after):
            if first:
                self.site.connected()
                first = False
            yield page

    async def _position(self, known: Mapping[str, bytes]) -> dict[str, Any]:
        position, size = await self.site.in_thread(_measured, known, self.bucket.of)
        if size > MOST_BYTES:
            raise self._too_many(len(known))
        return cast(dict[str, Any], position)

    def _too_many(self, count: int) -> Refused:
        message = (
            f"{self.bucket.of} has {count} objects or more, which is more than a position can name; read notifications "
            "through a queue (mode: queue), a smaller part (prefix), or names that only grow (order: growing)"
        )
        return Refused(message, reason="too_many_objects")

    def _after(self, key: str) -> dict[str, str]:
        return {"of": self.bucket.of, "after": key}


def _measured(known: Mapping[str, bytes], of: str) -> tuple[dict[str, Any], int]:
    position = encode(known, of)
    return position, len(orjson.dumps(position))

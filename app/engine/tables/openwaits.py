"""The waits at a registry (T) by id and by what meets them: those that change as they are, others packed.

Whoever asks for a wait gets it unpacked, and so does an event those that take it; `app.engine.runs.atrest` packs them
again after the round. An open wait is found by the place where events look for it: its topic, or its pattern's head,
and its event key; a blocked one, which no event meets yet, by its head.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Final

import orjson

from app.engine.tables.packed import KEY_BYTES, MOST_BYTES, Packed
from app.engine.tables.restingsteps import filled, trimmed
from app.engine.tables.texts import Pieces, Texts, key_of
from app.engine.tables.wait import HeadKey, Place, Wait, at_places, places_of
from topics.asked import Wait as Asked
from topics.envelope import Envelope
from topics.keys import DIGEST_BYTES

_HEAD: Final = Struct(f"<{DIGEST_BYTES}sq")
"""The digest of its run's id, and from when on events count."""
WAIT_BYTES: Final = 100
"""What a wait takes that is packed, with its place."""
_MANY: Final = 64
"""So many waits of one place are found one after the other."""
_SPREAD_BITS: Final = 4
_STALE: Final = 1024
"""So many keys of blocked waits that are none any more are not worth looking for."""


class Waits:
    """A mapping of ids to waits."""

    __slots__ = (
        "_aside",
        "_aside_count",
        "_packed",
        "_places",
        "_texts",
        "awake",
        "blocked",
        "idle",
        "places",
        "unblocking",
    )

    def __init__(self) -> None:
        self.awake: dict[str, Wait] = {}
        """All that are not packed."""
        self.places: dict[Place, dict[str, Wait]] = {}
        """These by place."""
        self.idle: list[Wait] = []
        """Some of these that may be packed."""
        self.blocked: dict[HeadKey, dict[str, Wait]] = {}
        """Those of `awake` that are not confirmed, by their head."""
        self.unblocking: dict[HeadKey, int] = {}
        """Heads for which something was confirmed, and how many packed waits of each are still to be looked at."""
        self._aside: dict[HeadKey, bytearray] = {}
        """Keys of packed ones that are not confirmed, end to end; also of some that are not there any more."""
        self._aside_count = 0
        self._packed = Packed()
        self._places = Places()
        self._texts = Texts()

    def get(self, name: str) -> Wait | None:
        wait = self.awake.get(name)
        return self._unpack(name) if wait is None and self._packed else wait

    def __contains__(self, name: object) -> bool:
        if name in self.awake:
            return True
        return bool(self._packed) and isinstance(name, str) and self._find(name) is not None

    def __len__(self) -> int:
        return len(self.awake) + len(self._packed)

    def __iter__(self) -> Iterator[str]:
        return (one.id for one in self.values())

    def values(self) -> Iterator[Wait]:
        """Yield all waits, to be looked at: what is changed in one that is packed is changed in a copy."""
        yield from self.awake.values()
        for _, value in self._packed:
            yield _decode(value, self._texts)

    def add(self, wait: Wait) -> None:
        self.awake[wait.id] = wait
        self.places.setdefault(wait.place, {})[wait.id] = wait

    def remove(self, wait: Wait) -> None:
        """Take out a wait that is not packed."""
        self.unblock(wait)
        del self.awake[wait.id]
        place = self.places[wait.place]
        del place[wait.id]
        if not place:
            del self.places[wait.place]

    def met_by(self, event: Envelope, most: int | None = None) -> list[Wait]:
        """Return the waits that take an event; of those that were packed not many more than `most`."""
        found = [one for one in at_places(self.places, event) if one.takes(event)]
        if not self._packed:
            return found
        names: dict[str, None] = {}
        for place in places_of(event):
            for key in self._places.of(_key_of(place)):
                for value in self._packed.of(key):
                    wait = _decode(value, self._texts)
                    if wait.open and wait.takes(event):  # a blocked one may have the key of an open one
                        names[wait.id] = None
                if most is not None and len(names) > most:
                    break
        found.extend(wait for wait in map(self._unpack, names) if wait is not None)
        return found

    # --- those that are blocked -------------------------------------------------------------------------------------

    def block(self, wait: Wait) -> None:
        """Note that a wait which is not packed is not confirmed."""
        self.blocked.setdefault(wait.head, {})[wait.id] = wait

    def unblock(self, wait: Wait) -> None:
        blocked = self.blocked.get(wait.head)
        if blocked is not None and blocked.pop(wait.id, None) is not None and not blocked:
            del self.blocked[wait.head]

    def is_blocked(self, wait: Wait) -> bool:
        return wait.id in self.blocked.get(wait.head, ())

    def blocked_by_head(self) -> dict[HeadKey, int]:
        """Return how many keys there are of packed ones, for each head with any that are not confirmed."""
        return dict.fromkeys(self.blocked, 0) | {head: len(keys) // KEY_BYTES for head, keys in self._aside.items()}

    def unpack_blocked(self, head: HeadKey, most: int, wanted: Callable[[Wait], bool]) -> tuple[list[Wait], int]:
        """Look at `most` keys of packed ones that are not confirmed, the oldest first; unpack those that are wanted.

        Return them, blocked still, and how many keys were looked at. The others are the newest from now on.
        """
        keys = self._aside.get(head, bytearray())
        found: list[Wait] = []
        looked = 0
        while looked < most and keys:
            key = bytes(keys[:KEY_BYTES])
            del keys[:KEY_BYTES]
            looked += 1
            waits = [_decode(value, self._texts) for value in self._packed.of(key)]
            waits = [one for one in waits if not one.open and one.head == head]
            names = [one.id for one in waits if wanted(one)]
            if len(names) < len(waits):
                keys += key
            found.extend(wait for wait in map(self._unpack, names) if wait is not None)
        if not keys:
            self._aside.pop(head, None)
        return found, looked

    def _set_aside(self, head: HeadKey, key: bytes) -> None:
        keys = self._aside.setdefault(head, bytearray())
        keys += key
        self._aside_count += 1
        if head in self.unblocking:  # it was not packed when these were counted
            self.unblocking[head] += 1
        if len(keys) > 2 * KEY_BYTES * (self._aside_count + _STALE):
            each = dict.fromkeys(bytes(keys[at : at + KEY_BYTES]) for at in range(0, len(keys), KEY_BYTES))
            keys[:] = b"".join([one for one in each if self._holds_blocked(one)])

    def _holds_blocked(self, key: bytes) -> bool:
        return any(not _decode(value, self._texts).open for value in self._packed.of(key))

    # --- those that are packed --------------------------------------------------------------------------------------

    @property
    def resting(self) -> int:
        """How many are packed."""
        return len(self._packed)

    @property
    def weight(self) -> int:
        """What these take in memory, by estimate, in bytes."""
        return len(self._packed) * WAIT_BYTES

    def pack(self, wait: Wait) -> None:
        """Pack a wait that is open or blocked, unless it is too large for that."""
        value = _encode(wait, self._texts)
        if len(value) > MOST_BYTES:
            return
        key = key_of(wait.id)
        self._packed.put(key, value)
        if wait.open:
            self._places.add(_key_of(wait.place), key)
        else:
            self._set_aside(wait.head, key)
        self.remove(wait)

    def _find(self, name: str) -> tuple[bytes, Wait] | None:
        for value in self._packed.of(key_of(name)):
            wait = _decode(value, self._texts)
            if wait.id == name:
                return value, wait
        return None

    def _unpack(self, name: str) -> Wait | None:
        found = self._find(name)
        if found is None:
            return None
        value, wait = found
        key = key_of(name)
        self._packed.take(key, value)
        self.add(wait)
        if wait.open:
            self._places.remove(_key_of(wait.place), key)
        else:
            self._aside_count -= 1
            self.block(wait)
        self.idle.append(wait)
        return wait

    # --- snapshots --------------------------------------------------------------------------------------------------

    def packed(self) -> tuple[dict[str, Any], list[tuple[bytes, list[bytes]]]]:
        """Return those that are packed: what is written as JSON, and pairs of blocks, the second one in pieces."""
        places, blocks = self._places.packed()
        about = {
            "count": len(self._packed),
            "texts": self._texts.texts,
            "places": places,
            "blocked": self._aside_count,
            "aside": [[*head, len(keys)] for head, keys in self._aside.items()],
        }
        return about, [self._packed.packed(), blocks, (b"", [b"".join(self._aside.values())])]

    @classmethod
    def restored(cls, about: Mapping[str, Any], blocks: Sequence[tuple[bytes, bytes | memoryview]]) -> "Waits":
        """Return what `packed` was made of. Raises ValueError, LookupError, TypeError."""
        made = cls()
        made._packed = Packed.restored(*blocks[0], about["count"])
        made._places = Places.restored(about["places"], *blocks[1])
        made._texts = Texts(about["texts"])
        made._aside_count = about["blocked"]
        at, keys = 0, blocks[2][1]
        for head, pattern, size in about["aside"]:
            made._aside[head, pattern] = bytearray(keys[at : at + size])
            at += size
        return made


class Places:
    """Keys of waits by keys of places. Many of one place are spread over many keys, by their own."""

    __slots__ = ("_table", "_wide")

    def __init__(self) -> None:
        self._table = Packed()
        self._wide: dict[bytes, list[int]] = {}
        """Of places that have many: over how many keys they are spread (in bits), and how many waits they have."""

    def add(self, place: bytes, wait: bytes) -> None:
        wide = self._wide.get(place)
        if wide is None:
            self._table.put(place, wait)
            if self._table.many(place, _MANY):
                self._widen(place, 0)
            return
        self._table.put(_spread(place, wait, wide[0]), wait)
        wide[1] += 1
        if wide[1] > _MANY << wide[0]:
            self._widen(place, wide[0])

    def remove(self, place: bytes, wait: bytes) -> None:
        wide = self._wide.get(place)
        self._table.take(_spread(place, wait, 0 if wide is None else wide[0]), wait)
        if wide is not None:
            wide[1] -= 1
            if not wide[1]:
                del self._wide[place]

    def of(self, place: bytes) -> Iterator[bytes]:
        """Yield the waits of a place; nothing must change meanwhile."""
        wide = self._wide.get(place)
        for number in range(1 if wide is None else 1 << wide[0]):
            yield from self._table.of(_moved(place, number))

    def _widen(self, place: bytes, bits: int) -> None:
        waits = list(self.of(place))
        for wait in waits:
            self._table.take(_spread(place, wait, bits), wait)
        bits += _SPREAD_BITS
        self._wide[place] = [bits, len(waits)]
        for wait in waits:
            self._table.put(_spread(place, wait, bits), wait)

    def packed(self) -> tuple[dict[str, Any], tuple[bytes, list[bytes]]]:
        wide = {place.hex(): one for place, one in self._wide.items()}
        return {"count": len(self._table), "wide": wide}, self._table.packed()

    @classmethod
    def restored(cls, about: Mapping[str, Any], sizes: bytes, content: bytes | memoryview) -> "Places":
        made = cls()
        made._table = Packed.restored(sizes, content, about["count"])
        made._wide = {bytes.fromhex(place): list(one) for place, one in about["wide"].items()}
        return made


def _spread(place: bytes, wait: bytes, bits: int) -> bytes:
    return place if not bits else _moved(place, int.from_bytes(wait, "little") & ((1 << bits) - 1))


def _moved(place: bytes, number: int) -> bytes:
    if not number:
        return place
    moved = (int.from_bytes(place, "little") + number * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    return moved.to_bytes(KEY_BYTES, "little")


def _key_of(place: Place) -> bytes:
    pattern, text, event_key = place
    return key_of(f"{pattern:d}{len(text)}{text}{'' if event_key is None else '=' + event_key}")


def _encode(wait: Wait, texts: Texts) -> bytes:
    one = wait.asked
    before, digest = texts.id_of(one.run)
    pieces = Pieces(texts, digest)
    about: list[Any] = [
        wait.source,
        before,
        pieces.cut(one.key),
        pieces.cut(one.topic),
        pieces.cut(one.event_key),
        pieces.cut(one.event_type),
        None if one.deadline_ms is None else one.deadline_ms - one.since_ms,
        one.n,
        [seen.hex() for seen in one.seen],
        int(not wait.open),
    ]
    return _HEAD.pack(digest, one.since_ms) + orjson.dumps(trimmed(about, _DEFAULTS))


_DEFAULTS: Final[tuple[Any, ...]] = (*(None,) * 7, 0, [], 0)


def _decode(value: bytes, texts: Texts) -> Wait:
    digest, since_ms = _HEAD.unpack_from(value)
    found: list[Any] = orjson.loads(memoryview(value)[_HEAD.size :])
    source, before, key, topic, event_key, event_type, deadline, n, seen, blocked = filled(found, _DEFAULTS)
    pieces = Pieces(texts, digest)
    asked = Asked(
        run=texts.id(before, digest),
        key=pieces.text(key),
        n=n,
        topic=pieces.text(topic),
        event_key=pieces.full(event_key),
        event_type=pieces.full(event_type),
        since_ms=since_ms,
        deadline_ms=None if deadline is None else deadline + since_ms,
        seen=tuple([bytes.fromhex(one) for one in seen]),
        stream=False,
    )
    wait = Wait(asked, source)
    wait.open, wait.journaled = not blocked, True
    return wait

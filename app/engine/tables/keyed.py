"""The keys of runs that an event of their key may cancel: only of workflows that had `cancel_on` when they began.

Of such a run the key is in memory and in its journal record, whether its events are or not: packed while it is at rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from app.engine.tables.openwaits import Places
from app.engine.tables.packed import MOST_BYTES, Packed
from app.engine.tables.texts import Pieces, Texts, key_of, key_of_run
from topics.keys import DIGEST_BYTES

KEYED_BYTES: Final = 80
"""What the key of a run takes, both ways."""
Keys = tuple[str, str]
"""A workflow's id, and the key of one of its runs."""


class Keyed:
    """Workflow and key by the id of a run, and the other way round."""

    __slots__ = ("_awake", "_packed", "_places", "_runs", "_texts", "any")

    def __init__(self) -> None:
        self.any = False
        """Whether there ever was one: to ask costs nothing."""
        self._awake: dict[str, Keys] = {}
        self._runs: dict[Keys, list[str]] = {}
        """Runs of `_awake`, the other way round."""
        self._packed = Packed()
        self._places = Places()
        self._texts = Texts()

    def __len__(self) -> int:
        return len(self._awake) + len(self._packed)

    @property
    def weight(self) -> int:
        """What they take in memory, by estimate, in bytes."""
        return len(self) * KEYED_BYTES

    def remember(self, run_id: str, workflow_id: str, key: str) -> None:
        self.any = True
        self._awake[run_id] = (workflow_id, key)
        self._runs.setdefault((workflow_id, key), []).append(run_id)

    def forget(self, run_id: str) -> None:
        if self._forget_awake(run_id) is not None or not self._packed:
            return
        found = self._find(run_id)
        if found is not None:
            value, place = found
            name = key_of_run(run_id)
            self._packed.take(name, value)
            self._places.remove(_key_of(place), name)

    def key_of(self, run_id: str) -> str | None:
        place = self._awake.get(run_id)
        if place is None and self._packed:
            _, place = self._find(run_id) or (b"", None)
        return None if place is None else place[1]

    def runs_of(self, workflow_id: str, key: str) -> tuple[str, ...]:
        place = (workflow_id, key)
        found = list(self._runs.get(place, ()))
        if self._packed:
            names = dict.fromkeys(self._places.of(_key_of(place)))
            each = [_decode(value, self._texts) for name in names for value in self._packed.of(name)]
            found += [run_id for run_id, its in each if its == place]
        return tuple(found)

    def as_dict(self) -> dict[str, Keys]:
        return self._awake | dict(_decode(value, self._texts) for _, value in self._packed)

    def _forget_awake(self, run_id: str) -> Keys | None:
        place = self._awake.pop(run_id, None)
        if place is not None:
            left = self._runs[place]
            left.remove(run_id)
            if not left:
                del self._runs[place]
        return place

    # --- those at rest ----------------------------------------------------------------------------------------------

    def pack(self, run_id: str) -> None:
        """Pack what is known of a run, unless it is too large for that; so it stays until it is forgotten."""
        place = self._awake.get(run_id)
        value = b"" if place is None else _encode(run_id, place, self._texts)
        if place is None or len(value) > MOST_BYTES:
            return
        name = key_of_run(run_id)
        self._packed.put(name, value)
        self._places.add(_key_of(place), name)
        self._forget_awake(run_id)

    def _find(self, run_id: str) -> tuple[bytes, Keys] | None:
        for value in self._packed.of(key_of_run(run_id)):
            name, place = _decode(value, self._texts)
            if name == run_id:
                return value, place
        return None

    # --- snapshots --------------------------------------------------------------------------------------------------

    def packed(self, awake: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[bytes, list[bytes]]]]:
        """Return those of runs that are not awake: what is written as JSON, and pairs of blocks."""
        places, blocks = self._places.packed()
        about = {
            "count": len(self._packed),
            "texts": self._texts.texts,
            "places": places,
            "large": {run_id: place for run_id, place in self._awake.items() if run_id not in awake},
            "awake": [run_id for run_id in awake if run_id not in self._awake and self._packed and self._find(run_id)],
        }
        return about, [self._packed.packed(), blocks]

    @classmethod
    def restored(cls, about: Mapping[str, Any], blocks: Sequence[tuple[bytes, bytes | memoryview]]) -> "Keyed":
        """Return what `packed` was made of. Raises ValueError, LookupError, TypeError."""
        made = cls()
        made._packed = Packed.restored(*blocks[0], about["count"])
        made._places = Places.restored(about["places"], *blocks[1])
        made._texts = Texts(about["texts"])
        made.any = made._packed.any
        for run_id, (workflow_id, key) in about["large"].items():
            made.remember(run_id, workflow_id, key)
        for run_id in about["awake"]:
            made.forget(run_id)
        return made


def _key_of(place: Keys) -> bytes:
    workflow_id, key = place
    return key_of(f"{len(workflow_id)}{workflow_id}{key}")


def _encode(run_id: str, place: Keys, texts: Texts) -> bytes:
    before, digest = texts.id_of(run_id)
    pieces = Pieces(texts, digest)
    return digest + orjson.dumps([before, *map(pieces.cut, place)])


def _decode(value: bytes, texts: Texts) -> tuple[str, Keys]:
    digest = value[:DIGEST_BYTES]
    before, workflow_id, key = orjson.loads(memoryview(value)[DIGEST_BYTES:])
    pieces = Pieces(texts, digest)
    return texts.id(before, digest), (pieces.text(workflow_id), pieces.text(key))

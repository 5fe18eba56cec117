"""The journal's live entities, as they are read: of each key the last value, null removes it. Used by the takeover.

Bodies, and what waits for them, are the many: of these only the numbers are kept, and the bodies that were read first,
as far as they fit. So reading a journal takes little memory, whatever sleeps in it.
"""

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

from app.engine.journal.atrest import AtRest
from app.engine.tables import recorded
from app.engine.values.numbers import Numbers
from topics import codec, commands, journal
from topics.envelope import Envelope

_BODY: Final = b"body:"
_PENDING: Final = b"pending:"
_STEP: Final = b"step:"
_ROUND: Final = b'"r":'
_FEW: Final = 4096


class Places:
    """Offsets of bodies by number, 16 bytes each: most numbers come in their order."""

    __slots__ = ("_numbers", "_offsets")

    def __init__(self) -> None:
        self._numbers = array("q")
        self._offsets = array("q")

    def add(self, number: int, offset: int, alive: Numbers) -> None:
        """Take the offset of a body; those that are not `alive` are forgotten now and then."""
        numbers = self._numbers
        if numbers and numbers[-1] >= number:
            at = bisect_left(numbers, number)
            if numbers[at] == number:
                self._offsets[at] = offset
            else:
                numbers.insert(at, number)
                self._offsets.insert(at, offset)
            return
        numbers.append(number)
        self._offsets.append(offset)
        if len(numbers) > 2 * len(alive) + _FEW:
            kept = [(one, at) for one, at in zip(numbers, self._offsets, strict=True) if one in alive]
            self._numbers = array("q", [one for one, _ in kept])
            self._offsets = array("q", [at for _, at in kept])

    def of(self, number: int) -> int:
        """Return the offset of a body, 0 where it is not known: a snapshot has numbers alone of what sleeps."""
        at = bisect_left(self._numbers, number)
        return self._offsets[at] if at < len(self._numbers) and self._numbers[at] == number else 0


_ENTRY_BYTES: Final = 200
"""What a key and its value take beside their bytes."""
_NUMBER_BYTES: Final = 8


class Entities:
    """What a journal holds. `most_bytes` of bodies are kept, all of them without it."""

    __slots__ = (
        "_at_hand_bytes",
        "_most_bytes",
        "_others_bytes",
        "at_hand",
        "atrest",
        "bodies",
        "newest",
        "newest_keys",
        "offsets",
        "others",
        "places",
        "waiting",
    )

    def __init__(self, given: Mapping[bytes, bytes] | None = None, *, most_bytes: int | None = None) -> None:
        self.others: dict[bytes, bytes] = {}
        """All entities but those below."""
        self.bodies = Numbers()
        self.at_hand: dict[int, bytes] = {}
        """The bodies that are kept."""
        self.waiting: dict[str, Numbers] = {}
        """Bodies of waiting events by their workflow."""
        self.newest = -1
        """The newest round that wrote a body or a waiting event, and the keys of those; orphans are among them alone:
        every owner begins with the round after the last one that was committed."""
        self.newest_keys: list[bytes] = []
        self.places = Places()
        """Offsets of bodies."""
        self.offsets: dict[bytes, int] = {}
        """Offsets of steps."""
        self.atrest: AtRest | None = None
        """What a snapshot had packed, and no record since has changed."""
        self._most_bytes = most_bytes
        self._at_hand_bytes = 0
        self._others_bytes = 0
        for key, value in (given or {}).items():
            self.put(key, value)

    def put(self, key: bytes, value: bytes, offset: int = 0) -> bool:
        """Take an entity that the journal has at `offset`. Return False for a body that was not kept."""
        if self.atrest is not None:
            self._thaw(self.atrest, key)
        if key.startswith(_STEP):
            # Of a step that has ended, its offset will do.
            self._keep(key, recorded.stub(value) if recorded.is_over(value) else value)
            self.offsets[key] = offset
            return True
        place = _place_of(key)
        if place is None or not self._is_counted(key, value):
            self._keep(key, value)
            return True
        number, workflow_id = place
        if workflow_id is not None:
            self.waiting.setdefault(workflow_id, Numbers()).add(number)
            return True
        self.bodies.add(number)
        self.places.add(number, offset, self.bodies)
        self._drop(number)
        if self._most_bytes is not None and self._at_hand_bytes + len(value) > self._most_bytes:
            return False
        self.at_hand[number] = value
        self._at_hand_bytes += len(value)
        return True

    def remove(self, key: bytes) -> None:
        """Take the end of an entity."""
        if self.atrest is not None:
            self._thaw(self.atrest, key)
        self._let_go(key)
        if key.startswith(_STEP):
            self.offsets.pop(key, None)
            return
        place = _place_of(key)
        if place is None:
            return
        number, workflow_id = place
        if workflow_id is None:
            self.bodies.discard(number)
            self._drop(number)
        elif workflow_id in self.waiting:
            self.waiting[workflow_id].discard(number)

    def __contains__(self, key: bytes) -> bool:
        if key in self.others:
            return True
        place = _place_of(key)
        if place is None:
            return False
        number, workflow_id = place
        return number in (self.bodies if workflow_id is None else self.waiting.get(workflow_id, ()))

    @property
    def weight(self) -> int:
        """What all of it takes in memory, by estimate."""
        numbers = len(self.bodies) + sum(map(len, self.waiting.values()))
        rest = 0 if self.atrest is None else self.atrest.weight
        entries = len(self.others) + len(self.offsets) + len(self.at_hand) + len(self.newest_keys)
        return self._others_bytes + self._at_hand_bytes + numbers * _NUMBER_BYTES + entries * _ENTRY_BYTES + rest

    def _thaw(self, atrest: AtRest, key: bytes) -> None:
        """Take out of what rests what the record of a key is about; all other records of it are needed now."""
        run = atrest.thawed(key)
        if run is None:
            return
        for number, offset in zip(run.places[::2], run.places[1::2], strict=True) if run.places else ():
            self.bodies.add(number)
            self.places.add(number, offset, self.bodies)
        for name, value, offset in atrest.records(run):
            self._keep(name, value)
            if name.startswith(_STEP):
                self.offsets[name] = offset

    def _keep(self, key: bytes, value: bytes) -> None:
        self._let_go(key)
        self.others[key] = value
        self._others_bytes += len(key) + len(value)

    def _let_go(self, key: bytes) -> None:
        value = self.others.pop(key, None)
        if value is not None:
            self._others_bytes -= len(key) + len(value)

    def _drop(self, number: int) -> None:
        value = self.at_hand.pop(number, None)
        if value is not None:
            self._at_hand_bytes -= len(value)

    def _is_counted(self, key: bytes, value: bytes) -> bool:
        """Note the round that wrote it. What cannot be read is kept as it is, for `restore` to judge."""
        round_ = _round_of(value)
        if round_ is None:
            return False
        if round_ > self.newest:
            self.newest = round_
            self.newest_keys.clear()
        if round_ == self.newest:
            self.newest_keys.append(key)
        return True


def _place_of(key: bytes) -> tuple[int, str | None] | None:
    """Return number and workflow of a waiting event, number and None of a body, None of anything else."""
    if key.startswith(_BODY):
        number = key[len(_BODY) :]
        return (int(number), None) if number.isdigit() else None
    if key.startswith(_PENDING):
        number, colon, workflow_id = key[len(_PENDING) :].partition(b":")
        return (int(number), workflow_id.decode(errors="replace")) if colon and number.isdigit() else None
    return None


def _round_of(value: bytes) -> int | None:
    """Return the round in a value: nearly always its last field, which saves reading all of it."""
    at = value.rfind(_ROUND)
    text = value[at + len(_ROUND) : -1]
    if at >= 0 and text.isdigit():
        return int(text)
    try:
        found = journal.decode(b"", value)["r"]
    except (journal.UnreadableJournal, KeyError):
        return None
    return found if type(found) is int else None


def event_of(number: int, value: bytes) -> Envelope:
    """Return the event of a body. Raises UnreadableJournal."""
    key = journal.body_key(number)
    found: dict[str, Any] = journal.decode(key, value)
    try:
        return commands.event_of(found)
    except (LookupError, TypeError, ValueError, AttributeError, codec.Malformed) as error:
        raise journal.UnreadableJournal(key.decode(), f"{type(error).__name__}: {error}") from None

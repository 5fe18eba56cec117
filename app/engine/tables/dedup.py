"""Which event ids were seen: by digest, within a window of time and a bound on count.

Ids live in generations, each a hash table of buckets that hold digests end to end (about 18 bytes an id, where a
Python set needs 97). A generation closes when it is a quarter of the window old or holds a quarter of the bound, and
is forgotten as a whole once it is older than the window or the bound needs its room. So at the bound the oldest ids
are forgotten before their time: an event repeated later than that starts a second run.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

DIGEST_BYTES: Final = 12
GENERATIONS: Final = 4
ID_BYTES: Final = 18
"""What an id takes in memory, its share of the table included."""
_BUCKET_IDS: Final = 24
_MIN_BUCKETS: Final = 256
_MOST_BUCKETS: Final = 1 << 24
"""As many as `_number` can tell apart."""
_SLOT_BYTES: Final = 8
_DIGESTS: Final = Struct(f"{DIGEST_BYTES}s")
_NUMBERS: Final = Struct(f"<I{DIGEST_BYTES - 4}x")
"""What `_number` takes from a digest, and a byte more, which no mask lets through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupPolicy:
    """`window_ms`: how long an id is remembered at least; `max_ids`: how many at most, whatever the window says."""

    window_ms: int
    max_ids: int

    @property
    def generation_ids(self) -> int:
        return max(1, self.max_ids // GENERATIONS)

    @property
    def generation_ms(self) -> int:
        return max(1, self.window_ms // GENERATIONS)


def _number(digest: bytes) -> int:
    """Return what chooses a digest's bucket. The same on every machine: snapshots hold buckets."""
    return digest[0] | digest[1] << 8 | digest[2] << 16


def split(digests: bytes) -> list[bytes]:
    """Return each of the digests that stand end to end."""
    return [digest for (digest,) in _DIGESTS.iter_unpack(digests)]


class Generation:
    """The ids of one stretch of time.

    `packs` counts its packed journal records, so that they can be removed; `fresh` holds what came since the last
    commit, in order.
    """

    __slots__ = ("buckets", "count", "fresh", "mask", "number", "opened_ms", "packs", "whole")

    def __init__(self, number: int, opened_ms: int, expected: int) -> None:
        size = _MIN_BUCKETS
        while size * _BUCKET_IDS < expected and size < _MOST_BUCKETS:
            size *= 2
        self.number = number
        self.opened_ms = opened_ms
        self.mask = size - 1
        self.buckets: list[bytearray | None] = [None] * size
        self.count = 0
        self.packs = 0
        self.fresh: list[bytes] = []
        self.whole = False
        """Whether every bucket exists, as few do at first: 1 MB for each table would be much for some hundred ids."""

    def holds(self, digest: bytes) -> bool:
        bucket = self.buckets[_number(digest) & self.mask]
        if bucket is None:
            return False
        at = bucket.find(digest)
        while at > 0 and at % DIGEST_BYTES:  # a match across two neighbours is none
            at = bucket.find(digest, at + 1)
        return at >= 0

    def add(self, digest: bytes, number: int) -> None:
        """Add one whose `_number` is known."""
        slot = number & self.mask
        bucket = self.buckets[slot]
        if bucket is None:
            self.buckets[slot] = bytearray(digest)
        else:
            bucket += digest
        self.count += 1

    def add_all(self, digests: bytes) -> None:
        """Add many, which stand end to end: what a restore does for an hour of ids, with little for each.

        They go to buckets that exist, so that nothing is asked for each.
        """
        if not self.whole:
            self.buckets = [bytearray() if one is None else one for one in self.buckets]
            self.whole = True
        buckets: list[Any] = self.buckets
        mask = self.mask
        for (digest,), (number,) in zip(_DIGESTS.iter_unpack(digests), _NUMBERS.iter_unpack(digests), strict=True):
            buckets[number & mask] += digest
        self.count += len(digests) // DIGEST_BYTES


class Dedup:
    """The ids of one partition, newest generation last."""

    __slots__ = ("_generation_ids", "_generation_ms", "_policy", "count", "generations", "removed_early")

    def __init__(self, policy: DedupPolicy) -> None:
        self._policy = policy
        self._generation_ids, self._generation_ms = policy.generation_ids, policy.generation_ms
        self.generations: list[Generation] = []
        self.count = 0
        self.removed_early = 0
        """Ids forgotten before the window ended, because of the bound."""

    @property
    def policy(self) -> DedupPolicy:
        return self._policy

    def seen(self, digest: bytes, now_ms: int) -> bool:
        """Whether the id was there; if it was not, it is from now on."""
        number = digest[0] | digest[1] << 8 | digest[2] << 16
        for generation in self.generations:
            bucket = generation.buckets[number & generation.mask]
            if bucket is not None and digest in bucket and generation.holds(digest):
                return True
        current = self._current(now_ms)
        current.add(digest, number)
        current.fresh.append(digest)
        self.count += 1
        return False

    def _current(self, now_ms: int) -> Generation:
        generations = self.generations
        if generations:
            last = generations[-1]
            if last.count < self._generation_ids and now_ms - last.opened_ms < self._generation_ms:
                return last
        number = generations[-1].number + 1 if generations else 0
        generations.append(Generation(number, now_ms, self._policy.generation_ids))
        return generations[-1]

    def restore(self, number: int, opened_ms: int, digests: bytes = b"", *, packed: bool = False) -> None:
        """Take ids from the journal, end to end; generations come in any order."""
        found = next((one for one in self.generations if one.number == number), None)
        if found is None:
            found = Generation(number, opened_ms, self._policy.generation_ids)
            self.generations.append(found)
            self.generations.sort(key=lambda one: one.number)
        if packed:
            found.packs += 1
            found.add_all(digests)
        else:
            for digest in split(digests):
                found.add(digest, _number(digest))
        self.count += len(digests) // DIGEST_BYTES

    @property
    def weight(self) -> int:
        """What the tables take in memory, by estimate."""
        return self.count * ID_BYTES + sum([len(one.buckets) for one in self.generations]) * _SLOT_BYTES

    def expire(self, now_ms: int) -> list[Generation]:
        """Forget generations that are past the window or the bound, and return them."""
        gone: list[Generation] = []
        while len(self.generations) > 1:
            oldest, following = self.generations[0], self.generations[1]
            past_window = now_ms - following.opened_ms >= self._policy.window_ms
            past_bound = self.count > self._policy.max_ids
            if not past_window and not past_bound:
                break
            self.generations.pop(0)
            self.count -= oldest.count
            if not past_window:
                self.removed_early += oldest.count
            gone.append(oldest)
        return gone

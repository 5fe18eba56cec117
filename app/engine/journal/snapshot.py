"""A partition's state as one block of bytes, and back: a cache of the journal up to an offset, never its equal.

What is not in the journal yet, or not known to be delivered, is not in a snapshot either: one is taken only where
nothing of that kind is left. The ids are kept as the tables that they are in memory, so that millions load in a moment;
of what sleeps there are the numbers alone, as in memory.
"""

import array
import base64
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

import orjson

from app.engine.journal import atrest, commit, records, waiting
from app.engine.journal.atrest import AtRest
from app.engine.journal.entities import Entities
from app.engine.runs.asleep import pending_key
from app.engine.starts import schedules
from app.engine.tables import recorded
from app.engine.tables.dedup import DIGEST_BYTES, Dedup, DedupPolicy, Generation, split
from app.engine.tables.run import Held, Run, RunStatus
from app.engine.tables.state import State
from app.engine.values.numbers import Numbers
from topics import commands, journal

_MAGIC: Final = b"headgate-snapshot-9\n"
_CHECKSUM_BYTES: Final = 16
_BODY: Final = b"body:"
_PIECES: Final = 1_024
"""So many buckets are put together at once: 1 MB or so, in which another thread does not get its turn."""
SLICE: Final = 500
"""Entities that are encoded in one go, some 5 ms: the worker's other partitions go on between."""

Content = Sequence[Sequence[bytes]]
"""A snapshot but for its checksum: parts in pieces. Nothing that happens to the state later changes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a snapshot holds. `next_offset`: of the journal, where reading goes on; `about`: whatever its user added."""

    next_offset: int
    entities: Entities
    """The journal's live entities but for ids."""
    remembered: "Remembered"
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The ids at the snapshot, and the part of them that no pack of the journal holds."""

    round: int
    dedup: Dedup
    tail_ids: tuple[bytes, ...]
    tail_generation: int
    tail_slots: int
    tail_from: int


class Damaged(Exception):
    """No snapshot of this release, or not as it was written. The journal is read instead."""


def possible(state: State) -> bool:
    """Whether everything that `state` holds is in the journal and delivered."""
    fresh = any(one.fresh for one in state.dedup.generations)
    unwritten: bool | Sized = state.changed or state.removed or state.husks or state.orphans or state.fresh_pending
    unwritten = unwritten or state.fresh_parked or state.touched_runs or state.touched_steps
    return state.round > 0 and not (unwritten or fresh or state.undelivered)


def encode(state: State, *, next_offset: int, about: Mapping[str, Any]) -> bytes:
    """Return the snapshot of a state for which one is `possible`."""
    return b"".join(written(taken(state, next_offset=next_offset, about=about)))


def written(content: Content) -> Iterator[bytes]:
    """Yield the bytes of a snapshot, its checksum last. Another thread may do that: there can be 100 MB of them."""
    made = blake2b(digest_size=_CHECKSUM_BYTES)
    for part in content:
        for at in range(0, len(part), _PIECES):
            few = b"".join(part[at : at + _PIECES])
            made.update(few)
            yield few
    yield made.digest()


def taken(state: State, *, next_offset: int, about: Mapping[str, Any]) -> Content:
    """Return what `written` makes the snapshot of."""
    *_, content = in_slices(state, next_offset=next_offset, about=about)
    assert content is not None
    return content


def in_slices(state: State, *, next_offset: int, about: Mapping[str, Any]) -> Iterator[Content | None]:
    """Yield None now and then, and last what `written` makes the snapshot of: others may go on, but not this state.

    It copies little of what rests: that never changes in its place.
    """
    entities: list[bytes] = []
    living = _entities(state)
    while few := list(islice(living, SLICE)):
        entities.append(orjson.dumps([[key.decode(), value.decode()] for key, value in few])[1:-1])
        yield None
    steps: list[bytes] = []
    places = _steps(state)
    while some := list(islice(places, SLICE)):
        steps.append(orjson.dumps(some)[1:-1])
        yield None
    resting, blocks = atrest.of(state)
    tables = [_table(one) for one in state.dedup.generations]
    described = {
        "next_offset": next_offset,
        "about": about,
        "entities": orjson.Fragment(b"[%b]" % b",".join(entities)),
        "places": base64.b64encode(_places(state).tobytes()).decode(),
        "steps": orjson.Fragment(b"[%b]" % b",".join(steps)),
        "resting": resting,
        "blocks": [sum(map(len, block)) for block in blocks],
        "asleep": {name: _text(one) for name, one in state.asleep.items()},
        "dormant": _text(Numbers({*state.runs.bodies, *_left(state)})),
        "generations": [
            {
                "number": one.number,
                "opened": one.opened_ms,
                "packs": one.packs,
                "count": one.count,
                "buckets": len(one.buckets),
            }
            for one in state.dedup.generations
        ],
        "round": state.round,
        "tail_ids": base64.b64encode(b"".join(state.tail_ids)).decode(),
        "tail_generation": state.tail_generation,
        "tail_slots": state.tail_slots,
        "tail_from": state.tail_from,
    }
    text = orjson.dumps(described)
    yield [[_MAGIC, len(text).to_bytes(8, "big"), text], *blocks, *tables]


def _text(numbers: Numbers) -> str:
    return base64.b64encode(numbers.packed()).decode()


def decode(given: bytes, policy: DedupPolicy, *, most_bytes: int | None = None) -> Snapshot:
    """Return what `encode` was given; of bodies at most `most_bytes` are kept. Raises Damaged."""
    body = memoryview(given)[:-_CHECKSUM_BYTES]
    if not given.startswith(_MAGIC) or blake2b(body, digest_size=_CHECKSUM_BYTES).digest() != given[-_CHECKSUM_BYTES:]:
        raise Damaged("it is not whole, or of another release")
    at = len(_MAGIC) + 8
    length = int.from_bytes(body[len(_MAGIC) : at], "big")
    found = orjson.loads(body[at : at + length])
    at += length
    blocks: list[memoryview] = []
    for size in found["blocks"]:
        blocks.append(body[at : at + size])
        at += size
    dedup = Dedup(policy)
    for one in found["generations"]:
        generation = Generation(one["number"], one["opened"], policy.generation_ids)
        if len(generation.buckets) != one["buckets"]:
            raise Damaged("dedup.max_ids has changed since")
        at = _fill(generation, body, at, one["count"])
        generation.packs = one["packs"]
        dedup.generations.append(generation)
        dedup.count += generation.count
    tail = base64.b64decode(found["tail_ids"])
    return Snapshot(
        next_offset=found["next_offset"],
        entities=_entities_of(found, most_bytes, atrest.read(found["resting"], blocks)),
        remembered=Remembered(
            round=found["round"],
            dedup=dedup,
            tail_ids=tuple(split(tail)),
            tail_generation=found["tail_generation"],
            tail_slots=found["tail_slots"],
            tail_from=found["tail_from"],
        ),
        about=found["about"],
    )


def _entities_of(found: Mapping[str, Any], most_bytes: int | None, resting: AtRest) -> Entities:
    entities = Entities(most_bytes=most_bytes)
    sleeping = {name: Numbers.of(base64.b64decode(one)) for name, one in found["asleep"].items()}
    dormant = Numbers.of(base64.b64decode(found["dormant"]))
    entities.bodies = Numbers.union([dormant, *sleeping.values()])
    entities.waiting = sleeping
    places = array.array("q")
    places.frombytes(base64.b64decode(found["places"]))
    offsets = dict(zip(places[::2], places[1::2], strict=True))
    for number in sorted(dormant):
        if number in offsets:  # else only runs need it that rest and know where it is
            entities.places.add(number, offsets[number], entities.bodies)
    for name, value in found["entities"]:
        encoded = name.encode()
        offset = offsets.get(int(encoded[len(_BODY) :]), 0) if encoded.startswith(_BODY) else 0
        entities.put(encoded, value.encode(), offset)
    for run_id, packed, size in found["steps"]:
        numbered = array.array("q")
        numbered.frombytes(base64.b64decode(packed))
        for n, place in enumerate(numbered):
            key = journal.step_key(run_id, n)
            if key in entities.others:  # an open one
                entities.offsets[key] = place
            elif place != recorded.NOWHERE:
                entities.put(key, recorded.stub_of(size), place)
                size = 0  # all of it counts once
    entities.atrest = resting
    return entities


def _entities(state: State) -> Iterator[tuple[bytes, bytes]]:
    """Yield the live entities as the journal has them, but for those that sleep or rest."""
    bodies: set[int] = set()
    for run in list(state.runs.awake.values()):
        for held in () if _leaves_events(run) else run.held or ():
            yield from _body(state, held, bodies)
        for step in () if run.steps is None else run.steps.open.values():
            if step.journaled:
                yield journal.step_key(run.id, step.n), recorded.value(step, state.round)
        yield journal.run_key(run.id), journal.encode(commit.described(state, run))
    for lane in list(state.lanes.values()):
        for pending in lane.pending:
            yield from _body(state, pending.held, bodies)
            yield pending_key(pending), journal.encode({"r": state.round})
    yield from waiting.entities(state)
    yield from records.parked(state.parked, state.round)
    for workflow_id, followed in state.schedules.items():
        yield journal.schedule_key(workflow_id), schedules.entity(followed, state.round)
    yield journal.KNOWN, journal.encode(commit.known_value(state))
    yield journal.HEAD, journal.encode(commit.head(state))


def _leaves_events(run: Run) -> bool:
    """Whether a run's events stay in the journal alone: it rests, so that whoever restores it need not have them."""
    rests = run.status is RunStatus.WAITING and run.steps is not None and run.steps.resting
    return rests and all(one.journaled and one.offset > 0 for one in run.held or ())


def _left(state: State) -> Iterator[int]:
    """Yield the numbers of these events."""
    for run in state.runs.awake.values():
        if run.held and _leaves_events(run):
            for one in run.held:
                yield one.number


def _steps(state: State) -> Iterator[tuple[str, str, int]]:
    """Yield runs with steps, where each of these is in the journal, and what all of them came to, in bytes."""
    for run in list(state.runs.awake.values()):
        if run.steps is not None:
            yield run.id, base64.b64encode(run.steps.places.tobytes()).decode(), run.steps.size


def _places(state: State) -> "array.array[int]":
    """Return number and offset of each body that a run needs."""
    places = array.array("q")
    for run in state.runs.awake.values():
        if run.places is not None:
            places.extend(run.places)
        for held in run.held or ():
            places.extend((held.number, max(0, held.offset)))
    return places


def _body(state: State, held: Held, bodies: set[int]) -> Iterator[tuple[bytes, bytes]]:
    if held.number not in bodies:
        bodies.add(held.number)
        yield journal.body_key(held.number), journal.encode(commands.raw_event(held.envelope) | {"r": state.round})


def _table(generation: Generation) -> tuple[bytes, bytes]:
    """Return how many ids each bucket has, and all of them end to end."""
    sizes = array.array("I", [0 if one is None else len(one) // DIGEST_BYTES for one in generation.buckets])
    return sizes.tobytes(), b"".join([one for one in generation.buckets if one is not None])


def _fill(generation: Generation, body: memoryview, at: int, count: int) -> int:
    sizes = array.array("I")
    end = at + len(generation.buckets) * sizes.itemsize
    sizes.frombytes(body[at:end])
    buckets = generation.buckets
    for number, size in enumerate(sizes):
        if size:
            start, end = end, end + size * DIGEST_BYTES
            buckets[number] = bytearray(body[start:end])
    generation.count = count
    return end

"""A partition's state from its journal: the entities that compaction left, in any order. Called by the takeover.

Everything that was going on sleeps afterwards, without its events in memory; `WorkflowsLoaded` wakes what this owner
runs, and `waking` has the events read back. So a takeover, a restart and a rolling deploy are one path.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson

from app.engine.journal import records as sent
from app.engine.journal import waiting
from app.engine.journal.atrest import AtRest
from app.engine.journal.commit import RESULTS_FIELD
from app.engine.journal.entities import Entities
from app.engine.journal.snapshot import Remembered
from app.engine.runs import asleep, atrest, rising, runs
from app.engine.starts import schedules, waking
from app.engine.tables import receipts, recorded, room, timers
from app.engine.tables.dedup import DIGEST_BYTES, split
from app.engine.tables.recorded import NOWHERE, Steps
from app.engine.tables.run import Run, RunStatus, Unloaded
from app.engine.tables.state import Fate, OutSlot, State, Timer, empty
from app.engine.values import errors, known
from app.engine.values.limits import Limits
from app.engine.values.numbers import Numbers
from app.engine.values.outgoing import Outgoing, Result
from app.engine.waits import waits
from headgate.definition import Workflow
from topics import codec, journal
from topics.timestamps import milliseconds


@dataclass(slots=True)
class Restored:
    state: State
    deliver_again: list[Outgoing] = field(default_factory=list)
    """Rounds that were decided but are not known to be delivered, oldest first."""


def restore(
    entities: Entities | Mapping[bytes, bytes],
    partition: int,
    limits: Limits,
    *,
    journal_id: str,
    remembered: Remembered | None = None,
) -> Restored:
    """Return the state that `entities` define. Raises UnreadableJournal, WrongPartitionCount.

    `remembered` are the ids of a snapshot; `entities` then hold only those written after it.
    """
    if not isinstance(entities, Entities):
        entities = Entities(entities)
    state = empty(partition, limits, journal_id=journal_id)
    if journal.HEAD not in entities.others:
        # Nothing was ever committed; what is there was written ahead of a commit that never came.
        state.orphans.extend(key for key in entities.others if key != journal.CLAIM)
        _take_orphans(state, entities)
        return Restored(state)
    records = _Records(entities.others)
    try:
        return Restored(state, _take(state, entities, records, remembered))
    except (LookupError, TypeError, ValueError, AttributeError, codec.Malformed) as error:
        reason = f"{type(error).__name__}: {error}"
        raise journal.UnreadableJournal(records.current.decode(errors="replace"), reason) from None


class _Records:
    """The journal's records by kind, and the one that is looked at, for the word about one that cannot be read."""

    def __init__(self, given: Mapping[bytes, bytes]) -> None:
        self.current = journal.HEAD
        self._given = given
        self._kinds: dict[bytes, list[bytes]] = {}

    def add(self, key: bytes) -> None:
        self._kinds.setdefault(key.split(b":", 1)[0], []).append(key)

    def of(self, kind: bytes) -> "Iterator[_Record]":
        """Yield the records of a kind, each parsed when its turn comes: they may be many."""
        return self.at(self._kinds.get(kind, ()))

    def at(self, keys: Iterable[bytes]) -> "Iterator[_Record]":
        for key in keys:
            self.current = key
            value = self._given[key]
            yield key, value, journal.decode(key, value)

    def steps(self) -> dict[str, list[bytes]]:
        """Return the keys of steps by their runs."""
        found: dict[str, list[bytes]] = {}
        for key in self._kinds.get(b"step", ()):
            found.setdefault(key[len(b"step:") :].rpartition(b"#")[0].decode(), []).append(key)
        return found


_ROUND: Final = b'{"r":'
_Record = tuple[bytes, bytes, dict[str, Any]]


def _take(state: State, entities: Entities, records: _Records, remembered: Remembered | None) -> list[Outgoing]:
    """Take the entities into the state; return what must be delivered again."""
    _head(state, journal.decode(journal.HEAD, entities.others[journal.HEAD]))
    for key, value in entities.others.items():
        if key in (journal.HEAD, journal.CLAIM):
            continue
        records.current = key
        if _round_of(key, value) > state.round:
            state.orphans.append(key)
        else:
            records.add(key)
    _take_orphans(state, entities)
    for _, _, found in records.of(b"known"):
        state.known = dict(found["since"])
        # Journals of older releases have no more than the names: such a workflow matches once it is heard of again.
        described = found.get("workflows", {})
        state.definitions = {name: known.from_journal(name, one) for name, one in described.items()}
        state.unheard = {name: int(at_ms) for name, at_ms in found.get("unheard", {}).items()}
    if remembered is not None:
        _remember(state, remembered)
    _ids(state, records, remembered=remembered is not None)
    if entities.atrest is not None:
        _take_resting(state, entities.atrest)
    for _, _, found in records.of(b"run"):
        _count_bodies(state, found, entities)
    for key, _, found in records.of(b"schedule"):
        state.schedules[key[len(b"schedule:") :].decode()] = schedules.from_journal(found)
    for kind in (b"body", b"pending"):
        for _ in records.of(kind):
            raise ValueError("it does not say which round wrote it")
    _sleep(state, entities, records)
    _runs(state, entities, records)
    # Compaction leaves the entities in any order; the oldest goes on first.
    state.runs.awake = dict(sorted(state.runs.awake.items(), key=lambda one: (one[1].places or (0,))[0]))
    state.rising = dict(sorted(state.rising.items(), key=lambda one: (one[1].places or (0,))[0]))
    waking.rematch(state)
    waiting.read(state, records.of)
    state.parked = {int(key[len(b"parked:") :]): sent.of(found["record"]) for key, _, found in records.of(b"parked")}
    return _out(state, records)


def _take_orphans(state: State, entities: Entities) -> None:
    """Take out what was written ahead of a commit that never came."""
    if entities.newest <= state.round:
        return
    for key in entities.newest_keys:
        if key not in entities:
            continue
        entities.remove(key)
        state.orphans.append(key)
        if key.startswith(b"body:"):
            # Its number is not given again: whoever looks for a body takes the first one of its number.
            state.bodies = max(state.bodies, int(key[len(b"body:") :]) + 1)


def _head(state: State, head: Mapping[str, Any]) -> None:
    if head["v"] > journal.FORMAT:
        raise journal.UnreadableJournal("head", f"it is of format {head['v']}")
    if head["partitions"] != state.limits.partitions:
        raise errors.WrongPartitionCount(journal=head["partitions"], found=state.limits.partitions)
    state.round = head["r"]
    state.events_offset = head["events"]
    state.commands_offset = head["commands"]
    state.now_ms = head["now"]
    state.bodies = head["bodies"]
    state.received = dict(head["received"])
    state.sent = {int(destination): sequence for destination, sequence in head["sent"].items()}
    state.delivered = head["delivered"]
    state.results_end = head["results_end"]
    state.runs_end = head["runs_end"]
    state.tail_from = head["ids_from"]
    state.reminded_ms = head.get("reminded", 0)
    for number, opened_ms in head["generations"].items():
        state.dedup.restore(int(number), opened_ms)
    waiting.read_head(state, head)


def _remember(state: State, remembered: Remembered) -> None:
    """Begin with the ids of a snapshot, but for generations that were forgotten since."""
    # A snapshot is taken when all rounds are delivered, though the mark of the last ones may not have been journaled.
    if remembered.round >= state.delivered:
        state.delivered = remembered.round
        state.changed = True  # whoever comes next may not have the snapshot
    known = {one.number for one in state.dedup.generations}
    kept = [one for one in remembered.dedup.generations if one.number in known]
    later = [one for one in state.dedup.generations if all(one.number != other.number for other in kept)]
    state.dedup.generations = sorted(kept + later, key=lambda one: one.number)
    state.dedup.count = sum(one.count for one in state.dedup.generations)
    if remembered.tail_from == state.tail_from:
        state.tail_ids = list(remembered.tail_ids)
        state.tail_slots = remembered.tail_slots
        state.tail_generation = remembered.tail_generation


def _ids(state: State, records: _Records, *, remembered: bool) -> None:
    dedup = state.dedup
    opened = {one.number: one.opened_ms for one in dedup.generations}
    for key, _, found in records.of(b"pack"):
        number = int(key.split(b":")[1])
        if number in opened:
            digests = journal.unpack_digests(found["d"], DIGEST_BYTES)
            if remembered:  # a pack written since the snapshot repeats what was the tail then
                generation = next(one for one in dedup.generations if one.number == number)
                digests = b"".join([one for one in split(digests) if not generation.holds(one)])
            dedup.restore(number, opened[number], digests, packed=True)
        else:
            state.removed.append(key)
    for key, _, found in records.of(b"ids"):
        number = found["g"]
        if found["r"] >= state.tail_from:
            digests = journal.unpack_digests(found["d"], DIGEST_BYTES)
            if number in opened:
                dedup.restore(number, opened[number], digests)
            state.tail_generation = number
            state.tail_ids.extend(split(digests))
            state.tail_slots = max(state.tail_slots, int(key.split(b":")[1]) + 1)


def _round_of(key: bytes, value: bytes) -> int:
    """Return the round that wrote a record: its first field in most, for which it need not be parsed."""
    if value.startswith(_ROUND):
        text = value[len(_ROUND) : 64].partition(b",")[0]
        if text.isdigit():
            return int(text)
    found = journal.decode(key, value)["r"]
    if type(found) is not int:
        raise TypeError(f"its round is {found!r}")
    return found


def _take_resting(state: State, resting: AtRest) -> None:
    """Take what a snapshot had packed, as it is; with its timers, among which may be some that hold no more."""
    state.runs, state.later, state.waiting = resting.runs, resting.later, resting.waiting
    state.timers_most = max(state.timers_most, 2 * len(state.later))
    for due_ms, _, kind, name, group in resting.near:
        timers.arm(state, due_ms, Timer(kind), name, group, far_ms=0)
    state.timer_count += len(state.later)
    state.keyed = resting.keyed
    if len(resting.waits):
        waits.the_registry(state).waits = resting.waits


def _count_bodies(state: State, found: Mapping[str, Any], entities: Entities) -> None:
    """Count what a run needs. Of all of them it must be known before one is packed."""
    for number in found["bodies"]:
        _require(number, entities.bodies)
        state.runs.bodies[number] = state.runs.bodies.get(number, 0) + 1


def _runs(state: State, entities: Entities, records: _Records) -> None:
    """Take the runs with their steps, one by one: those at rest are packed at once."""
    steps = records.steps()
    for key, _, found in records.of(b"run"):
        run_id = key[len(b"run:") :].decode()
        run = _run(state, run_id, found, entities)
        for name, _, step in records.at(steps.pop(run_id, ())):
            _step(run, name, step, entities.offsets[name])
        records.current = key
        _go_on(state, run)
        state.runs.idle.append(run)
        atrest.pack(state)
    state.removed.extend(key for left in steps.values() for key in left)
    state.runs.bodies = dict(state.runs.bodies)  # what had room for all of them has none left over


def _run(state: State, run_id: str, found: Mapping[str, Any], entities: Entities) -> Run:
    places = array("q")
    for number in found["bodies"]:
        places.extend((number, entities.places.of(number)))
    if not places:
        raise LookupError("it has no events")
    lane = None if found["lane"] is None else (found["lane"][0], found["lane"][1])
    # Its workflow and its events follow when it is loaded; until then nothing asks for more than the name.
    workflow = cast(Workflow, Unloaded(id=found["workflow"], version=found["version"]))
    run = Run.asleep(run_id, workflow, lane, found["started"])
    run.attempt = found["attempt"]
    run.due_ms = found["due"]
    run.places = places
    # What was published is a step since format 2; a run that began before goes on with what it has.
    published = dict(found.get("published", {}))
    if published or found.get("par") or found.get("received"):
        steps = run.steps = Steps(run_id)
        steps.published = published or None
        steps.par = found.get("par", False)
        receipts.take_back(steps, found)
    status = found.get("status")
    if status == "stuck":
        run.status = RunStatus.STUCK
        state.stuck[run_id] = found["why"]
    elif status == "waiting":
        run.status = RunStatus.COLD
    if "fate" in found:
        state.fates[run_id] = Fate(*found["fate"])
    if "key" in found:
        state.keyed.remember(run_id, run.workflow.id, found["key"])
    state.runs[run_id] = run
    return run


def _step(run: Run, key: bytes, found: Mapping[str, Any], offset: int) -> None:
    number = int(key.rpartition(b"#")[2])
    steps = run.steps
    if steps is None:
        steps = run.steps = Steps(run.id)
    if len(steps.places) <= number:
        steps.places.extend([NOWHERE] * (number + 1 - len(steps.places)))
    steps.places[number] = offset
    steps.asked += 1
    if found["s"] == "open":
        step = recorded.restored(steps, number, found)
        step.asked = False
        steps.open[step.key] = step
    else:
        steps.size += found["z"]


def _go_on(state: State, run: Run) -> None:
    """Arm what the run's steps wait for, and wake it if it is to be given up."""
    if run.steps is not None:
        run.steps.resting = run.status is RunStatus.COLD
        for step in run.steps.open.values():
            state.waiting += room.taken_by(step)
            if step.due_ms:
                timers.arm(state, step.due_ms, Timer.STEP, run.id, step.key, far_ms=0)
    if run.id in state.fates:
        rising.wake(state, run)


def _require(number: int, bodies: Numbers) -> None:
    if number not in bodies:
        raise LookupError(f"body {number} is not there")


def _sleep(state: State, entities: Entities, records: _Records) -> None:
    """Let sleep what waits, and name the bodies that nothing needs."""
    for workflow_id, numbers in entities.waiting.items():
        for number in numbers:
            records.current = journal.pending_key(number, workflow_id)
            _require(number, entities.bodies)
        if numbers:
            state.asleep[workflow_id] = numbers
    state.removed.extend(journal.body_key(one) for one in entities.bodies if not asleep.needed(state, one))


def _out(state: State, records: _Records) -> list[Outgoing]:
    """Return what is not known to be delivered, and which slots are free."""
    rounds: dict[int, list[tuple[int, bytes, dict[str, Any]]]] = {}
    used: set[int] = set()
    for key, value, part in records.of(b"out"):
        slot = int(key.split(b":")[1])
        state.slots = max(state.slots, slot + 1)
        if part["r"] > state.delivered:
            used.add(slot)
            rounds.setdefault(part["r"], []).append((slot, value, part))
    state.free_slots = [slot for slot in range(state.slots) if slot not in used]
    again: list[Outgoing] = []
    for number in sorted(rounds):
        parts = sorted(rounds[number], key=lambda one: int(one[2]["part"]))
        outgoing = Outgoing(number)
        for slot, value, part in parts:
            records.current = journal.out_key(slot)
            outgoing.results.extend(_results(value, part))
            outgoing.runs.extend(sent.of(one) for one in part["runs"])
            outgoing.records.extend(sent.of(one) for one in part["records"])
        state.undelivered.append(OutSlot(number, tuple(slot for slot, _, _ in parts)))
        again.append(outgoing)
    return again


def _results(value: bytes, part: Mapping[str, Any]) -> list[Result]:
    """Cut the results out of the part's bytes: they are delivered again as they were, not encoded again."""
    lengths = part["lengths"]
    at = len(value) - 2 - sum(lengths) - max(0, len(lengths) - 1)
    if lengths and value[at - len(RESULTS_FIELD) : at] != RESULTS_FIELD:
        raise ValueError("its results do not add up to their lengths")
    results: list[Result] = []
    for number, length in enumerate(lengths):
        one = value[at : at + length]
        at += length + 1
        about = orjson.loads(one)
        finished_ms = milliseconds(about["finished_at"])
        parent = part["parents"].get(str(number))
        results.append(
            runs.result_record(about["run_id"], about["workflow_id"], about["status"], one, finished_ms, parent)
        )
    return results

"""The journal records of one round, made from what changed. Called by the pump after its last `apply` of the round."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from app.engine.effects import Commit, Placed
from app.engine.journal import records, waiting
from app.engine.runs import asleep, notes, rising, runs
from app.engine.starts import schedules
from app.engine.steps import telling
from app.engine.tables import receipts, recorded
from app.engine.tables.recorded import NOWHERE, Step
from app.engine.tables.run import Held, Run, RunStatus
from app.engine.tables.state import OutSlot, State
from app.engine.values import known
from app.engine.values.outgoing import Outgoing, Record
from topics import commands, journal

Entity = tuple[bytes, bytes | None]

PART_BYTES: Final = 700 * 1024
"""Most bytes of one outgoing part or command: far below the topics' limit of 8 MiB, whatever the overhead."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Above this, what nothing refers to yet goes ahead in batches of its own."""
_TAIL_IDS, _TAIL_SLOTS = 4096, 512
MOST_REMOVED: Final = 20_000
"""Entities that a round removes, as far as the others can wait."""
SPARE_SLOTS: Final = 64
"""Free slots of outgoing records that keep theirs, to be written over."""
MOVED_BYTES: Final = 1024
"""A step's record above this is not written over: what replaces live records must fit one batch, all of a round."""
_BODY, _STEP = b"body:", b"step:"
_TOLD: Final = frozenset({RunStatus.RETRYING, RunStatus.STUCK})


def commit(state: State) -> Commit | None:
    """Close the round and return its journal records, None when nothing changed. The state is as after the commit."""
    state.timers_fired = 0  # also where they changed nothing: else those that are left never fire
    if not state.changed:
        return None
    state.changed = state.unsaved = False
    state.round += 1
    if state.notes:
        notes.keep(state)
    _expire(state)
    if state.husks or len(state.removed) > MOST_REMOVED:
        _spread(state)
    bodies: list[Entity] = []
    fresh: list[Entity] = []
    batch: list[Entity] = []
    placed: dict[bytes, Placed] = {}
    gone = set(state.removed)
    # What goes away first: the same key may come back in the same round, a run's id or an event that waits anew.
    batch.extend((key, None) for key in state.removed)
    state.removed.clear()
    for pending in state.fresh_pending:
        if not pending.left:
            _body(state, pending.held, bodies, placed)
            pending.journaled = True
            key = asleep.pending_key(pending)
            (batch if key in gone else fresh).append((key, journal.encode({"r": state.round})))
            if pending.asleep:
                asleep.settle(state, pending)
    state.fresh_pending.clear()
    state.falling.clear()
    for run in state.touched_runs.values():
        anew = run.journaled or journal.run_key(run.id) in gone
        _run(state, run, bodies, batch if anew else fresh, placed)
    state.touched_runs.clear()
    if state.touched_steps:
        for step in state.touched_steps:
            if not step.steps.over:
                _step(state, step, gone, batch, fresh, placed)
        state.touched_steps.clear()
    if state.touched_waits or state.registry is not None:
        waiting.write(state, gone, fresh, batch)
    batch.extend(schedules.changes(state))
    _ids(state, bodies, batch)
    _commands(state)
    outgoing, state.outgoing = state.outgoing, Outgoing(0)
    outgoing.round = state.round
    parts = _out(state, outgoing)
    parts.extend(records.parked(state.fresh_parked, state.round))
    state.fresh_parked.clear()
    _give_slots_back(state, batch)
    last: list[Entity] = []
    if state.known_changed:
        last.append((journal.KNOWN, journal.encode(known_value(state))))
        state.known_changed = False
    last.append((journal.HEAD, journal.encode(head(state))))
    orphans: list[Entity] = [(key, None) for key in state.orphans]
    state.orphans.clear()
    ahead: list[Entity] = orphans + bodies + parts
    whole = ahead + batch + fresh + last
    if _size(whole) <= BATCH_BYTES:
        return Commit(state.round, (), whole, outgoing, placed)
    # Nothing live has the keys of what goes ahead: of a commit that never comes it is an orphan, and no loss.
    return Commit(state.round, ahead + fresh, batch + last, outgoing, placed)


def _spread(state: State) -> None:
    """Leave removals to the next rounds, of which one batch would be too large: those that no restore takes for more.

    Bodies that nothing needs and steps whose run is gone are removed by whoever finds them.
    """
    removed, husks = state.removed, state.husks
    if len(removed) > MOST_REMOVED:
        kept: list[bytes] = []
        for key in removed:
            if key.startswith(_BODY):
                husks.setdefault("", []).append(key)
            elif key.startswith(_STEP) and (run_id := key[len(_STEP) :].rpartition(b"#")[0].decode()) not in state.runs:
                husks.setdefault(run_id, []).append(key)
            else:
                kept.append(key)
        removed[:] = kept
    while husks and len(removed) < MOST_REMOVED:
        run_id, left = next(iter(husks.items()))
        taken = left[len(removed) - MOST_REMOVED :]
        del left[-len(taken) :]
        removed.extend(taken)
        if not left:
            del husks[run_id]
    state.changed = bool(husks)  # then there is another round


def known_value(state: State) -> dict[str, Any]:
    value = {
        "r": state.round,
        "since": state.known,
        "workflows": {name: known.described(one) for name, one in state.definitions.items()},
    }
    return value | {"unheard": state.unheard} if state.unheard else value


def head(state: State) -> dict[str, Any]:
    value: dict[str, Any] = {
        "r": state.round,
        "v": journal.FORMAT,
        "partitions": state.limits.partitions,
        "events": state.events_offset,
        "commands": state.commands_offset,
        "now": state.now_ms,
        "bodies": state.bodies,
        "received": state.received,
        "sent": state.sent,
        "delivered": state.delivered,
        "results_end": state.results_end,
        "runs_end": state.runs_end,
        "ids_from": state.tail_from,
        "generations": {one.number: one.opened_ms for one in state.dedup.generations},
        **({"reminded": state.reminded_ms} if state.reminded_ms else {}),
    }
    if state.flushes:
        value["flushes"] = {registry: one.number for registry, one in state.flushes.items()}
    return value


def _size(entities: Sequence[Entity]) -> int:
    return sum(len(key) + len(value or b"") + 32 for key, value in entities)


def _body(state: State, held: Held, bodies: list[Entity], placed: dict[bytes, Placed]) -> None:
    if held.journaled:
        return
    held.number = state.bodies
    held.journaled = True
    state.bodies += 1
    key = journal.body_key(held.number)
    bodies.append((key, journal.encode(commands.raw_event(held.envelope) | {"r": state.round})))
    placed[key] = held


def _run(state: State, run: Run, bodies: list[Entity], batch: list[Entity], placed: dict[bytes, Placed]) -> None:
    if run.places is not None:
        batch.append((journal.run_key(run.id), journal.encode(described(state, run))))
        return
    if run.held is None:
        run.held = tuple(Held(one) for one in run.events)
        for one in run.held:
            one.refs = 1
    for one in run.held:
        _body(state, one, bodies, placed)
    if not run.journaled:
        run.journaled = True
        if rising.weighs(run):
            state.run_bytes += sum([one.weight for one in run.events])
        if run.attempt == 1 and run.status not in _TOLD:  # else its failure told so already
            runs.began(state, run)
    batch.append((journal.run_key(run.id), journal.encode(described(state, run))))


def described(state: State, run: Run) -> dict[str, Any]:
    """Return the entity of a run whose bodies are journaled."""
    found = run_value(run, state.round, state.keyed.key_of(run.id))
    if run.id in state.stuck:
        found["why"] = state.stuck[run.id]
    if run.id in state.fates:
        fate = state.fates[run.id]
        found["fate"] = [fate.status, fate.type, fate.message]
    return found


def run_value(run: Run, round_: int, key: str | None) -> dict[str, Any]:
    """Return the entity of a run that is neither stuck nor to be given up. `key`: for an event that may cancel it."""
    places, steps = run.places, run.steps
    found: dict[str, Any] = {
        "r": round_,
        "workflow": run.workflow.id,
        "version": run.workflow.version,
        "bodies": [one.number for one in run.held or ()] if places is None else places[::2].tolist(),
        "lane": run.lane,
        "attempt": run.attempt,
        "started": run.started_ms,
        "due": run.due_ms,
        "status": _status(run),
    }
    if steps is not None:
        if steps.published:
            found["published"] = steps.published
        if steps.par:
            found["par"] = True
        found |= receipts.written(steps)
    if key is not None:
        found["key"] = key
    return found


def _status(run: Run) -> str:
    if run.status is RunStatus.STUCK:
        return "stuck"
    if run.due_ms:
        return "retrying"
    return "waiting" if run.steps is not None and run.steps.resting else "running"


def _step(
    state: State,
    step: Step,
    gone: set[bytes],
    batch: list[Entity],
    fresh: list[Entity],
    placed: dict[bytes, Placed],
) -> None:
    """Journal a step. A large record gets a key that nothing has yet, so that it may go ahead of the batch."""
    steps = step.steps
    step.touched = False
    value = recorded.value(step, state.round)
    if step.journaled and len(value) > MOVED_BYTES:
        batch.append((journal.step_key(steps.run_id, step.n), None))
        steps.places[step.n] = NOWHERE
        step.journaled = False
    first = step.n == NOWHERE
    anew = step.journaled
    if not anew:
        step.n = steps.number()
    key = journal.step_key(steps.run_id, step.n)
    (batch if anew or key in gone else fresh).append((key, value))
    placed[key] = step
    run = state.runs[steps.run_id]
    if step.outcome is not None:
        steps.unplaced -= 1
        steps.ahead, steps.rung = False, None
        state.counters.steps += 1
        if not step.told:
            telling.finished(state, run, step)
    elif step.retried:
        step.retried = False
        telling.retried(state, run, step)
    elif first:
        telling.waiting(state, run, step)
    step.journaled = True


def _expire(state: State) -> None:
    for generation in state.dedup.expire(state.now_ms):
        state.removed.extend(journal.pack_key(generation.number, number) for number in range(generation.packs))


def _ids(state: State, ahead: list[Entity], batch: list[Entity]) -> None:
    """Journal the ids that this round saw: a small record each round, packed into a large one now and then.

    What is not packed yet, the tail, is of one generation, so that it is forgotten together with it.
    """
    generations = state.dedup.generations
    for generation in generations:
        fresh = generation.fresh
        if not fresh:
            continue
        if state.tail_generation != generation.number:
            _pack_tail(state, ahead)
            state.tail_generation = generation.number
        state.tail_ids.extend(fresh)
        full = len(state.tail_ids) >= _TAIL_IDS or state.tail_slots >= _TAIL_SLOTS
        if full or generation is not generations[-1]:
            _pack_tail(state, ahead)
        else:
            value = {"r": state.round, "g": generation.number, "d": journal.pack_digests(fresh)}
            batch.append((journal.ids_key(state.tail_slots), journal.encode(value)))
            state.tail_slots += 1
        fresh.clear()


def _pack_tail(state: State, ahead: list[Entity]) -> None:
    """Write the tail as one record of its generation; its small records, all of earlier rounds, count no more."""
    generation = next((one for one in state.dedup.generations if one.number == state.tail_generation), None)
    if generation is not None and state.tail_ids:
        value = {"r": state.round, "d": journal.pack_digests(state.tail_ids)}
        ahead.append((journal.pack_key(generation.number, generation.packs), journal.encode(value)))
        generation.packs += 1
    state.tail_ids.clear()
    state.tail_slots = 0
    state.tail_from = state.round


def _commands(state: State) -> None:
    """Turn what has its place elsewhere into commands, in order, each with the next number of its destination."""
    if not state.forwards and not state.gathers and not state.asks:
        return
    if state.forwards:
        state.forwarded = state.round
    for destination in sorted({*state.forwards, *state.gathers, *state.asks}):
        events = [commands.encode_event(one) for one in state.forwards.get(destination, ())]
        batched = [commands.encode_batched(one) for one in state.gathers.get(destination, ())]
        asks = [commands.encode_ask(one) for one in state.asks.get(destination, ())]
        for few_events, few_batched, few_asks in commands.cut(events, batched, asks, most_bytes=PART_BYTES):
            sequence = state.sent.get(destination, 0) + 1
            state.sent[destination] = sequence
            value = commands.join(
                source=state.partition,
                journal_id=state.journal_id,
                sequence=sequence,
                partitions=state.limits.partitions,
                events=few_events,
                batched=few_batched,
                asks=few_asks,
            )
            state.outgoing.records.append(Record("commands", destination, b"%d" % state.partition, value, ()))
    state.forwards = {}
    state.gathers = {}
    state.asks = {}


def _out(state: State, outgoing: Outgoing) -> list[Entity]:
    """Return the journal parts of `outgoing`, in free slots. Their values hold the results' bytes as they are."""
    if not outgoing:
        return []
    parts: list[tuple[list[Any], list[Any], list[Any]]] = [([], [], [])]
    size = 0
    # Copied: what orjson writes has 4 KB at least.
    runs = [b"%b" % orjson.dumps(records.value(one)) for one in outgoing.runs]
    others = [b"%b" % orjson.dumps(records.value(one)) for one in outgoing.records]
    # Beside a result: its length and the parent of its trace.
    lengths = (
        [len(one[1]) + 200 for one in outgoing.results],
        *([len(one) + 1 for one in few] for few in (runs, others)),
    )
    kinds: tuple[list[Any], ...] = (outgoing.results, runs, others)
    for kind, (items, sizes) in enumerate(zip(kinds, lengths, strict=True)):
        if size + sum(sizes) <= PART_BYTES:  # nearly always
            parts[-1][kind].extend(items)
            size += sum(sizes)
            continue
        start = 0
        for at, length in enumerate(sizes):
            if size + length > PART_BYTES and size:
                parts[-1][kind].extend(items[start:at])
                parts.append(([], [], []))
                start, size = at, 0
            size += length
        parts[-1][kind].extend(items[start:] if start else items)
    entities: list[Entity] = []
    slots = []
    for number, part in enumerate(parts):
        slot = state.free_slots.pop() if state.free_slots else state.slots
        state.slots = max(state.slots, slot + 1)
        slots.append(slot)
        entities.append((journal.out_key(slot), _part(state.round, number, len(parts), *part)))
    state.undelivered.append(OutSlot(state.round, tuple(slots)))
    return entities


def _give_slots_back(state: State, batch: list[Entity]) -> None:
    """Remove the records of free slots that a burst left behind: every restore would read them."""
    spare = state.free_slots[SPARE_SLOTS:]
    if spare:
        del state.free_slots[SPARE_SLOTS:]
        batch.extend((journal.out_key(slot), None) for slot in spare)


def _part(round_: int, number: int, count: int, results: list[Any], facts: list[bytes], records: list[bytes]) -> bytes:
    values = [one[1] for one in results]
    about = orjson.dumps(
        {
            "r": round_,
            "part": number,
            "of": count,
            "runs": [orjson.Fragment(one) for one in facts],
            "records": [orjson.Fragment(one) for one in records],
            "parents": {str(at): one[3] for at, one in enumerate(results) if one[3]},
            "lengths": list(map(len, values)),
        }
    )
    # The results last and as they are, so that they come back byte for byte without being encoded again.
    return about[:-1] + RESULTS_FIELD + b",".join(values) + b"]}"


RESULTS_FIELD: Final = b',"results":['

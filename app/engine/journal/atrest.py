"""What rests, as a snapshot has it: packed. Records that came after the snapshot have what they change thawed first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.engine.journal import commit
from app.engine.tables import recorded, room
from app.engine.tables.keyed import Keyed
from app.engine.tables.later import Later
from app.engine.tables.openwaits import Waits
from app.engine.tables.recorded import NOWHERE
from app.engine.tables.run import Run
from app.engine.tables.runs import Runs
from app.engine.tables.state import State, Timer
from topics import journal

_RUN: Final = b"run:"
_STEP: Final = b"step:"
_WAIT: Final = b"wait:"
_KINDS: Final = (_RUN, _STEP, _WAIT)
_TIMERS: Final = frozenset({Timer.STEP, Timer.WAIT})


@dataclass(slots=True, kw_only=True)
class AtRest:
    """Runs and waits that were packed, and all timers of such. `waiting`: for how many things these runs wait."""

    runs: Runs
    waits: Waits
    later: Later
    near: list[tuple[int, int, int, str, str | None]]
    """Timers that were not far away when the snapshot was made."""
    waiting: int
    keyed: Keyed
    """Those of these runs that an event may cancel."""

    @property
    def weight(self) -> int:
        """What it takes in memory, by estimate."""
        return self.runs.weight + self.waits.weight + self.later.weight + self.keyed.weight

    def thawed(self, key: bytes) -> Run | None:
        """Take out what the record of this key changes; return the run that it is about, if it was packed."""
        if not key.startswith(_KINDS):
            return None
        if key.startswith(_WAIT):
            wait = self.waits.get(key[len(_WAIT) :].decode(errors="replace"))
            if wait is not None:  # what the record says counts, and nothing else
                self.waits.remove(wait)
                self.waits.idle.clear()
            return None
        name = key[len(_RUN) :] if key.startswith(_RUN) else key[len(_STEP) :].rpartition(b"#")[0]
        run = self.runs.get(name.decode(errors="replace"))
        if run is None or run.places is None or run.steps is None:
            return None
        del self.runs[run.id]
        self.runs.idle.clear()
        for number in run.places[::2]:
            self.runs.bodies[number] -= 1
            if not self.runs.bodies[number]:
                del self.runs.bodies[number]
        self.waiting -= sum(map(room.taken_by, run.steps.open.values()))
        return run

    def records(self, run: Run) -> list[tuple[bytes, bytes, int]]:
        """Return the journal records of a run that was thawed, with the offsets of its steps."""
        steps = run.steps
        assert steps is not None
        value = commit.run_value(run, 0, self.keyed.key_of(run.id))
        self.keyed.forget(run.id)
        made = [(journal.run_key(run.id), journal.encode(value), 0)]
        open_ = {step.n: step for step in steps.open.values()}
        size = steps.size
        for n, place in enumerate(steps.places):
            key = journal.step_key(run.id, n)
            if n in open_:
                made.append((key, recorded.value(open_[n], 0), place))
            elif place != NOWHERE:
                made.append((key, recorded.stub_of(size), place))
                size = 0  # all of it counts once
        steps.open.clear()  # these refer to all
        return made


def of(state: State) -> tuple[dict[str, Any], list[Sequence[bytes]]]:
    """Return what rests: what is written as JSON, and blocks, each in pieces."""
    runs, (sizes, buckets) = state.runs.packed()
    parts: list[Sequence[bytes]] = [[sizes], buckets]
    awake = sum(
        room.taken_by(step) for run in state.runs.awake.values() if run.steps for step in run.steps.open.values()
    )
    later, block = state.later.packed()
    parts.append([block])
    keyed, pairs = state.keyed.packed(state.runs.awake)
    for sizes, buckets in pairs:
        parts += ([sizes], buckets)
    about: dict[str, Any] = {
        "runs": runs,
        "later": later,
        "near": [
            [due, count, kind.value, name, group] for due, count, kind, name, group in state.timers if kind in _TIMERS
        ],
        "waiting": state.waiting - awake,
        "keyed": keyed,
    }
    if state.registry is not None:
        about["waits"], pairs = state.registry.waits.packed()
        for sizes, buckets in pairs:
            parts += ([sizes], buckets)
    return about, parts


def read(about: Mapping[str, Any], blocks: list[memoryview]) -> AtRest:
    """Return what `of` was given. Raises ValueError, LookupError, TypeError."""
    pairs = [(bytes(blocks[at]), blocks[at + 1]) for at in range(3, len(blocks), 2)]
    keyed, pairs = pairs[:2], pairs[2:]
    return AtRest(
        runs=Runs.restored(about["runs"], bytes(blocks[0]), blocks[1]),
        waits=Waits.restored(about["waits"], pairs) if "waits" in about else Waits(),
        later=Later.restored(about["later"], blocks[2]),
        near=[(due, count, kind, name, group) for due, count, kind, name, group in about["near"]],
        waiting=about["waiting"],
        keyed=Keyed.restored(about["keyed"], keyed),
    )

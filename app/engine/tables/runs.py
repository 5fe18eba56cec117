"""The runs of a partition by id: those that go on as they are, those at rest packed (`resting`).

Whoever asks for a run gets it unpacked, whatever it was, so nobody has to know; `app.engine.runs.atrest` packs it
again after the round. Only who wants no run that is at rest looks at `awake`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from app.engine.tables import resting
from app.engine.tables.packed import MOST_BYTES, Packed
from app.engine.tables.run import Run, Unloaded, is_unloaded
from app.engine.tables.texts import Texts, key_of_run
from headgate.definition import Workflow

RUN_BYTES: Final = 140
"""What a run takes that is packed."""


class Runs:
    """A mapping of ids to runs."""

    __slots__ = ("_numbers", "_packed", "_texts", "awake", "bodies", "idle", "workflows")

    def __init__(self) -> None:
        self.awake: dict[str, Run] = {}
        """All that are not at rest."""
        self.idle: list[Run] = []
        """Some of these that may be at rest."""
        self.bodies: dict[int, int] = {}
        """How many runs whose events are not in memory need a body; but for bodies that a packed run needs alone."""
        self.workflows: list[Workflow] = []
        """Those of runs at rest, by number."""
        self._numbers: dict[Any, int] = {}
        self._packed = Packed()
        self._texts = Texts()

    def get(self, run_id: str) -> Run | None:
        run = self.awake.get(run_id)
        return self._unpack(run_id) if run is None and self._packed else run

    def __getitem__(self, run_id: str) -> Run:
        run = self.get(run_id)
        if run is None:
            raise KeyError(run_id)
        return run

    def __contains__(self, run_id: object) -> bool:
        if run_id in self.awake:
            return True
        return self._packed.any and isinstance(run_id, str) and self.value_of(run_id) is not None

    def __setitem__(self, run_id: str, run: Run) -> None:
        self.awake[run_id] = run

    def __delitem__(self, run_id: str) -> None:
        del self.awake[run_id]

    def __len__(self) -> int:
        return len(self.awake) + len(self._packed)

    def __iter__(self) -> Iterator[str]:
        yield from self.awake
        for _, value in self._packed:
            yield resting.head(value, self._texts)[0]

    def values(self) -> Iterator[Run]:
        """Yield all runs, to be looked at: what is changed in one that is at rest is changed in a copy."""
        yield from self.awake.values()
        for _, value in self._packed:
            yield resting.decode(value, self.workflows, self._texts)[0]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Runs | Mapping):
            return {one.id: one for one in self.values()} == {one.id: one for one in other.values()}
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # it changes

    def __repr__(self) -> str:
        return f"Runs({list(self)})"

    # --- those at rest ----------------------------------------------------------------------------------------------

    @property
    def resting(self) -> int:
        """How many are packed."""
        return len(self._packed)

    @property
    def weight(self) -> int:
        """What these take in memory, by estimate, in bytes."""
        return len(self._packed) * RUN_BYTES

    def value_of(self, run_id: str) -> bytes | None:
        """Return a run as it is packed, None if it is not."""
        key = key_of_run(run_id)
        if not self._packed.may_hold(key):
            return None
        for value in self._packed.of(key):
            if resting.head(value, self._texts)[0] == run_id:
                return value
        return None

    def pack(self, run: Run, *, alone: bool) -> bool:
        """Pack a run that is at rest; return False if it has no such form. `alone`: nothing else needs its events."""
        value = resting.encode(run, self._number(run.workflow), self._texts, alone=alone)
        if value is None or len(value) > MOST_BYTES:
            return False
        assert run.places is not None
        self._packed.put(key_of_run(run.id), value)
        del self.awake[run.id]
        if alone:
            for number in run.places[::2]:
                del self.bodies[number]
        if run.steps is not None:  # each open one refers to all: else they live until the cyclic collector looks
            run.steps.open.clear()
        return True

    def _unpack(self, run_id: str) -> Run | None:
        value = self.value_of(run_id)
        if value is None:
            return None
        self._packed.take(key_of_run(run_id), value)
        run, alone = resting.decode(value, self.workflows, self._texts)
        if alone and run.places is not None:
            self.bodies.update(dict.fromkeys(run.places[::2], 1))
        self.awake[run_id] = run
        self.idle.append(run)
        return run

    def renew(self, loaded: Mapping[str, Workflow], arm: Callable[[int, str], None]) -> None:
        """Give those at rest the workflows that are loaded now; `arm` is called with deadlines that are new."""
        changed: dict[int, Workflow] = {}
        for number, before in enumerate(self.workflows):
            now = loaded.get(before.id)
            if now is not None and now is not before:
                self.workflows[number] = now
                if now.timeout_seconds is not None and now.timeout_seconds != before.timeout_seconds:
                    changed[number] = now
        self._numbers = {_name(one): number for number, one in enumerate(self.workflows)}
        if changed:
            for _, value in self._packed:
                run_id, number, started_ms = resting.head(value, self._texts)
                if number in changed:
                    due_ms = resting.deadline_ms(changed[number], started_ms)
                    assert due_ms is not None
                    arm(due_ms, run_id)

    def of_workflows(self, names: Collection[str], most: int) -> list[str]:
        """Return the ids of runs of these workflows that are at rest, of `most` of them."""
        numbers = {number for number, one in enumerate(self.workflows) if one.id in names}
        if not numbers:
            return []
        heads = (resting.head(value, self._texts) for _, value in self._packed)
        return list(islice((run_id for run_id, number, _ in heads if number in numbers), most))

    def older(self, before_ms: int) -> Iterator[str | None]:
        """Yield the ids of runs at rest that began before a time, and None after each thousand that were looked at."""
        for number, (_, value) in enumerate(self._packed, 1):
            run_id, _, started_ms = resting.head(value, self._texts)
            if started_ms <= before_ms:
                yield run_id
            if number % 1_000 == 0:
                yield None

    def _number(self, workflow: Workflow) -> int:
        name = _name(workflow)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.workflows)
            self.workflows.append(workflow)
        return number

    # --- snapshots --------------------------------------------------------------------------------------------------

    def packed(self) -> tuple[dict[str, Any], tuple[bytes, list[bytes]]]:
        """Return those at rest: what is written as JSON, and two blocks, the second one in pieces."""
        shared = dict(self.bodies)
        for run in self.awake.values():
            for number in () if run.places is None else run.places[::2]:
                shared[number] -= 1
                if not shared[number]:
                    del shared[number]
        about = {
            "count": len(self._packed),
            "texts": self._texts.texts,
            "workflows": [[one.id, one.version] for one in self.workflows],
            "bodies": [list(shared), list(shared.values())],
        }
        return about, self._packed.packed()

    @classmethod
    def restored(cls, about: Mapping[str, Any], sizes: bytes, content: bytes | memoryview) -> "Runs":
        """Return what `packed` was made of. Raises ValueError, LookupError, TypeError."""
        made = cls()
        made._packed = Packed.restored(sizes, content, about["count"])
        made._texts = Texts(about["texts"])
        made.workflows = [Unloaded(id=name, version=version) for name, version in about["workflows"]]  # type: ignore[misc]
        made._numbers = {_name(one): number for number, one in enumerate(made.workflows)}
        made.bodies = dict(zip(*about["bodies"], strict=True))
        return made


def _name(workflow: Workflow) -> Any:
    """Return by what two workflows are the same one: what is not loaded is no more than a name."""
    return (workflow.id, workflow.version) if is_unloaded(workflow) else id(workflow)

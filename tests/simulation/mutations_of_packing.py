"""The promises of what rests in packed tables, each broken in the code: part of `mutations`."""

from typing import Any, Final
from unittest import mock

from app.engine.journal.atrest import AtRest
from app.engine.runs import atrest
from app.engine.tables import resting, timers
from app.engine.tables.later import Later
from app.engine.tables.openwaits import Places, Waits
from app.engine.tables.packed import Packed
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.runs import Runs
from app.engine.tables.state import State
from app.engine.tables.wait import Wait, at_places
from tests.simulation.mutations_of_steps import Patch
from topics.envelope import Envelope


def _runs_at_rest_lost() -> Any:
    """A run that is packed is gone."""

    def pack(self: Runs, run: Run, *, alone: bool) -> bool:
        del self.awake[run.id]
        return alone

    return mock.patch.object(Runs, "pack", pack)


def _runs_at_rest_unseen() -> Any:
    """A run that is packed is found by nobody who asks for it."""
    return mock.patch.object(Runs, "_unpack", return_value=None)


def _waits_at_rest_unmet() -> Any:
    """Events meet those waits alone that are not packed."""

    def met_by(self: Waits, event: Envelope, _most: int | None = None) -> list[Wait]:
        return [one for one in at_places(self.places, event) if one.takes(event)]

    return mock.patch.object(Waits, "met_by", met_by)


def _waits_at_rest_unseen() -> Any:
    """A wait that is packed never expires and is never withdrawn."""
    return mock.patch.object(Waits, "_unpack", return_value=None)


def _wide_places_half_seen() -> Any:
    """Of many waits at one place some are not met."""
    before = Places.of

    def of(self: Places, place: bytes) -> Any:
        return list(before(self, place))[:2]

    return mock.patch.object(Places, "of", of)


def _due_waits_packed() -> Any:
    """A wait is packed while it is about to end."""

    def quiet(_state: State, wait: Wait) -> bool:
        return wait.open and wait.journaled and wait.flow is None

    return mock.patch.object(atrest, "_is_quiet", quiet)


def _bodies_let_go() -> Any:
    """A packed run keeps no event that others need too."""
    return mock.patch.object(atrest, "_is_alone", return_value=True)


def _unplaced_packed() -> Any:
    """A run is packed before it is known where its steps are."""

    def rests(_state: State, run: Run) -> bool:
        return run.status is RunStatus.COLD and run.places is not None

    return mock.patch.object(atrest, "_rests", rests)


def _thaw_nothing() -> Any:
    """What a snapshot had packed stays as it was, whatever came after it."""
    return mock.patch.object(AtRest, "thawed", return_value=None)


def _steps_left_behind() -> Any:
    """A packed run forgets what its steps came to."""
    before = resting.decode

    def decode(*given: Any) -> tuple[Run, bool]:
        run, alone = before(*given)
        assert run.steps is not None
        keep = {one.n for one in run.steps.open.values()}
        for n in range(len(run.steps.places)):
            if n not in keep:
                run.steps.places[n] = -1
        return run, alone

    return mock.patch.object(resting, "decode", decode)


def _far_timers_lost() -> Any:
    """Timers that are far away never fire."""
    return mock.patch.object(Later, "add", return_value=None)


def _far_timers_late() -> Any:
    """Nobody is told when timers that are far away are due."""

    def next_due_ms(state: State) -> int | None:
        return state.timers[0][0] if state.timers else None

    return mock.patch.object(timers, "next_due_ms", next_due_ms)


def _halves_lost() -> Any:
    """A table that grows loses what moves."""
    before = Packed._grow

    def grow(self: Packed) -> None:
        before(self)
        self._count -= self._buckets[-1].count(b"[")
        self._buckets[-1] = b""

    return mock.patch.object(Packed, "_grow", grow)


OF_PACKING: Final[dict[str, Patch]] = {
    "runs-at-rest-lost": _runs_at_rest_lost,
    "runs-at-rest-unseen": _runs_at_rest_unseen,
    "waits-at-rest-unmet": _waits_at_rest_unmet,
    "waits-at-rest-unseen": _waits_at_rest_unseen,
    "wide-places-half-seen": _wide_places_half_seen,
    "due-waits-packed": _due_waits_packed,
    "bodies-let-go": _bodies_let_go,
    "unplaced-packed": _unplaced_packed,
    "thaw-nothing": _thaw_nothing,
    "steps-left-behind": _steps_left_behind,
    "far-timers-lost": _far_timers_lost,
    "far-timers-late": _far_timers_late,
    "halves-lost": _halves_lost,
}

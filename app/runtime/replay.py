"""What the journal has of a run that is called anew, compared with what its code asks for."""

from collections.abc import Iterable

from app.engine.values.asks import Kind, Outcome, Recorded
from headgate.errors import HistoryMismatch


class History:
    """The recorded steps of a run. Sequential code asks for them first, in whatever order; then for new ones.

    What is recorded without saying what was asked for (`about` "") fits anything of its kind. `concurrent`: the run
    ever had several steps open, or tasks beside its function; what was open is not always recorded.
    """

    __slots__ = ("_concurrent", "_left", "_steps")

    def __init__(self, recorded: Iterable[Recorded], *, concurrent: bool = False) -> None:
        self._steps = {one.key: one for one in recorded}
        self._left = dict.fromkeys(self._steps)
        self._concurrent = concurrent or any(one.par for one in self._steps.values())

    def visit(self, key: str, kind: Kind, about: str) -> Recorded | None:
        """Return what is recorded of a step that the code asks for, None for a new one. Raises HistoryMismatch."""
        found = self._steps.get(key)
        if found is None:
            if self._left and not self._concurrent:
                raise HistoryMismatch(key, None, about)
            return None
        if found.kind is not kind or found.about not in (about, ""):
            raise HistoryMismatch(key, found.about, about)
        self._left.pop(key, None)
        return found

    def end(self) -> None:
        """The function returned. Raises HistoryMismatch when it did not ask for a step that is recorded."""
        for key in self._left:
            raise HistoryMismatch(key, self._steps[key].about, None)

    def ended(self, key: str, outcome: Outcome) -> None:
        """A step ended before the code asked for it again."""
        found = self._steps.get(key)
        if found is not None and found.outcome is None:
            self._steps[key] = Recorded(key=key, kind=found.kind, about=found.about, par=found.par, outcome=outcome)

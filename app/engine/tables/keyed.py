"""The keys of runs that an event of their key may cancel: only of workflows that had `cancel_on` when they began.

Of such a run the key is in memory and in its journal record, whether its events are or not.
"""


class Keyed(dict[str, tuple[str, str]]):
    """Workflow and key by the id of a run, and the other way round. A dict, for whether it is empty is asked often."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[tuple[str, str], list[str]] = {}

    def remember(self, run_id: str, workflow_id: str, key: str) -> None:
        self[run_id] = (workflow_id, key)
        self._runs.setdefault((workflow_id, key), []).append(run_id)

    def forget(self, run_id: str) -> None:
        place = self.pop(run_id, None)
        if place is not None:
            left = self._runs[place]
            left.remove(run_id)
            if not left:
                del self._runs[place]

    def key_of(self, run_id: str) -> str | None:
        place = self.get(run_id)
        return None if place is None else place[1]

    def runs_of(self, workflow_id: str, key: str) -> tuple[str, ...]:
        return tuple(self._runs.get((workflow_id, key), ()))

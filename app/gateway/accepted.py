"""The runs that this gateway has given an address for: until something is told of one, it is known here alone."""

from typing import Any, Final

MOST: Final = 10_000
"""So many are remembered, the newest: some 3 MB."""
STATUS: Final = "accepted"
"""Of a run that Kafka has the event of, and of which nothing is told yet. No run is listed with it."""


class Accepted:
    """The ids of such runs with those of their events, of the newest `most`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._events: dict[str, str] = {}

    def note(self, run_id: str, event_id: str) -> None:
        self._events.pop(run_id, None)
        if len(self._events) >= self._most:
            del self._events[next(iter(self._events))]
        self._events[run_id] = event_id

    def forget(self, run_id: str) -> None:
        """Forget a run that more is known of than that its call was accepted."""
        self._events.pop(run_id, None)

    def summary(self, run_id: str) -> dict[str, Any] | None:
        """Return what is known of such a run, in the form of the read model's summaries, with the id of its event."""
        event_id = self._events.get(run_id)
        if event_id is None:
            return None
        unknown = dict.fromkeys(("workflow_version", "key", "started_at", "finished_at", "attempts", "error"))
        return {
            "run_id": run_id,
            "workflow_id": run_id.rpartition(":")[0],
            "status": STATUS,
            "event_id": event_id,
            **unknown,
        }

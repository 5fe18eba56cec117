"""What caused an event or record that a run sends: headers that tell people and other services.

Nothing follows from them, for any client can write them.
"""

from typing import Final

RUN: Final = "causation_id"
"""The id of the run."""
STEP: Final = "causation_step"
"""The key of its step; none where it is no step's doing, as for `on_failure`."""
EVENT: Final = "causation_event"
"""The id of the event that started the run, of a batch the first one."""


def headers(run_id: str, event_id: str, step_key: str | None) -> list[tuple[str, bytes]]:
    """Return the headers of what a run sends."""
    by_step = [] if step_key is None else [(STEP, step_key.encode())]
    return [(RUN, run_id.encode()), *by_step, (EVENT, event_id.encode())]

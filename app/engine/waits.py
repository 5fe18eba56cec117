"""The waits of this partition's runs, told to the partition where their topic's waits are registered."""

from collections.abc import Sequence

from app.engine.asks import EventCondition
from app.engine.state import Run, State


def register(
    state: State,
    run: Run,
    key: str,
    n: int,
    condition: EventCondition,
    since_ms: int,
    deadline_ms: int | None,
    seen: Sequence[str],
) -> None:
    """Let condition `n` of the run's step `key` be met by the first event from `since_ms` to `deadline_ms`.

    `seen` are digests (hex) of events that never match.
    """


def withdraw(state: State, run: Run, key: str, n: int) -> None:
    """Want condition `n` of the run's step `key` no more."""

"""Steps of runs. A stand-in until they are there."""

from app.engine.effects import Effects
from app.engine.state import State
from topics.envelope import Envelope


def met(state: State, run_id: str, key: str, n: int, envelope: Envelope, effects: Effects) -> None:
    """An event meets condition `n` of a step."""


def expired(state: State, run_id: str, key: str, n: int, effects: Effects) -> None:
    """No event met condition `n` in time."""

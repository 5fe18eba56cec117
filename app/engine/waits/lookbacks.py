"""Look-backs on their way between the engine and the pump."""

from collections.abc import Sequence

from app.engine.inputs import LookedBack
from app.engine.tables.registry import InterestLook, Look, WaitsLook
from app.engine.tables.state import State
from app.engine.waits import interests, waits


def take(state: State) -> Sequence[Look]:
    """Return the look-backs that are wanted; the pump has begun with them. Called once their round is durable."""
    taken, state.lookbacks = state.lookbacks, []
    state.scanning.update({one.number: one for one in taken})
    return taken


def looked_back(state: State, given: LookedBack) -> None:
    """Take what a look-back has found so far."""
    look = state.scanning[given.number]
    if given.done:
        del state.scanning[given.number]
    if isinstance(look, InterestLook):
        interests.looked_back(state, look, given.arrivals, done=given.done)
    elif isinstance(look, WaitsLook):
        waits.looked_back(state, look, given.arrivals, done=given.done)

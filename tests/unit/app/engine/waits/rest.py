"""What waits came to once all is at rest, and how that is written."""

from typing import Any

from tests.unit.app.engine.world import Outcome, World


def rested(world: World) -> list[Outcome]:
    """What the waits came to when all is at rest, since the last time."""
    world.settle()
    found = world.outcomes
    for place in world.places:
        place.outcomes.clear()
    return found


def met(data: Any, n: int = 0, key: str = "approval", run: str = "flow:1") -> Outcome:
    return run, key, n, data

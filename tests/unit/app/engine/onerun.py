"""A partition with one run that has steps, and what happens to it."""

from typing import Any

from app.engine.effects import Effects
from app.engine.steps import steps
from app.engine.values.asks import Execute, Sleep
from tests.unit.app.engine.partition import NOW, Partition, event, flow

CALL = Execute(max_retries=2, base_delay_ms=1_000, max_delay_ms=10_000)
HOUR = 3_600_000


def begun(*, key: str | None = None, committed: bool = True, **options: Any) -> tuple[Partition, str]:
    """A partition with one run."""
    partition = Partition(flow(**options))
    (run,) = partition.read(event(0, key=key))
    if committed:
        partition.commit()
    return partition, run


def crashed(partition: Partition, *workflows: Any) -> Partition:
    """What the next owner knows, with its workflows loaded."""
    return partition.takeover(*(workflows or partition.state.loaded.values()))


def resumed(partition: Partition, run: str, key: str, value: bytes) -> bool:
    effects = Effects()
    found = steps.resume(partition.state, run, key, value, effects)
    partition.after += effects.after
    partition.give()
    return found


def asleep(partition: Partition, run: str) -> None:
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()

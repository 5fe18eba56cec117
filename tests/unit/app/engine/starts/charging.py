"""The workflow `charge` as it is announced, and what becomes of its events: shared by the tests of workflows."""

from typing import Any

from app.engine.values.known import Definition
from tests.unit.app.engine.partition import Partition, dead, flow
from topics import keys

OLD, NEW = "orders/created", "orders/paid"
PARTITIONS = 4


def home(text: str) -> int:
    return keys.partition_of(text.encode(), PARTITIONS)


def announced(*triggers: str, at: int, version: str = "1", **options: Any) -> Definition:
    return Definition.of(flow("charge", list(triggers), version=version, **options), announced_ms=at)


def letters(partition: Partition) -> list[tuple[str, str | None]]:
    """Code and workflow of the dead letters of a round."""
    return [(one["code"], one["workflow_id"]) for one in dead(partition.committed())]

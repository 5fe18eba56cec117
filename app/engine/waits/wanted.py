"""What the partition of a run (P) asks of the registries at which its steps wait."""

from collections.abc import Iterable

from app.engine.tables.run import Run
from app.engine.tables.state import State
from app.engine.values.asks import EventCondition
from topics import asked, keys


def register(
    state: State,
    run: Run,
    key: str,
    n: int,
    condition: EventCondition,
    since_ms: int,
    deadline_ms: int | None,
    seen: Iterable[str],
) -> None:
    """Let condition `n` of the step `key` wait at the registry of its topic; `steps.met` or `steps.expired` follow.

    `seen` are the digests (hex) of events that do not count.
    """
    wait = asked.Wait(
        run=run.id,
        key=key,
        n=n,
        topic=condition.topic,
        event_key=condition.event_key,
        event_type=condition.event_type,
        since_ms=since_ms,
        deadline_ms=deadline_ms,
        seen=tuple(bytes.fromhex(one) for one in seen),
        stream=condition.stream,
    )
    state.ask(registry_of(state, condition.topic), wait)


def more(state: State, run: Run, key: str, n: int, topic: str, count: int) -> None:
    """The step has judged so many of the events that it was sent for the condition, as `streams.cost` counts them."""
    state.ask(registry_of(state, topic), asked.More(run.id, key, n, count))


def withdraw(state: State, run: Run, key: str, n: int, topic: str) -> None:
    """Nothing waits for the condition any more. What is on its way to the step already still comes."""
    state.ask(registry_of(state, topic), asked.Withdraw(run.id, key, n))


def registry_of(state: State, topic: str) -> int:
    """Return the partition at which all waits for a topic (or pattern) are."""
    return keys.partition_of(topic.encode(), state.limits.partitions)

"""Bounds of one partition. The engine gets them as an argument and reads no settings."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    partitions: int
    """Partition count of the co-partitioned topics."""
    prefix: str = "headgate."
    """Of our Kafka topics' names, as dead letters show them."""
    workflows_per_event: int = 100
    event_bytes: int = 1024 * 1024
    """Of an event that the engine itself makes."""
    batch_bytes: int = 4 * 1024 * 1024
    steps_per_run: int = 1_000
    waits: int = 2_000_000
    """Most things that the runs of one partition wait for at once."""
    waits_per_run: int = 1_000
    result_bytes: int = 1024 * 1024
    """Of a result, and of what a step came to."""
    run_bytes: int = 32 * 1024 * 1024
    """Of all that the steps of one run came to."""
    dedup_ids: int = 1_000_000
    """Most ids remembered by one partition."""
    dedup_window_ms: int = 96 * 3_600_000
    asleep_events: int = 250_000
    """Most events of one partition that sleep until their workflow is loaded; they take 8 bytes of memory each."""
    start_from_earliest: bool = True
    """Whether a new installation reads the events that were there before it."""
    reply_allowed: Callable[[str], bool] = lambda _topic: False
    """Which Kafka topics `reply_topic` may name."""
    heads: int = 256
    """Most heads and topics that a registry asks for one by one; above that it asks for everything."""
    topics_of_a_head: int = 8
    """Most topics of one head that it asks for one by one; above that it asks for all of the head."""
    arrivals: int = 10_000
    """Most events that a registry has in memory for waits that come late, and most of their bytes."""
    arrivals_bytes: int = 4 * 1024 * 1024
    candidates: int = 16
    """Most events that a step has to judge at once, of each wait with a filter; large ones count for several."""
    retry_base_ms: int = 1_000
    retry_max_ms: int = 60_000

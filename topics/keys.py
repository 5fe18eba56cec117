"""Derived ids and the partition of a key. The same input gives the same id on every machine and after every restart."""

import re
from hashlib import blake2b
from typing import Final

from murmurhash2 import murmurhash2

from topics.envelope import Envelope

DIGEST_BYTES: Final = 12
"""96 bits: with 10^10 events in a dedup window two of them share a digest with a chance of 10^-9."""

_JAVA_SEED: Final = 0x9747B28C
_MAX_ID: Final = 512
_EMPTY: Final = blake2b(digest_size=DIGEST_BYTES)
_WORKFLOW_ID: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_RUN_ID: Final = re.compile(rf"{_WORKFLOW_ID.pattern}:[0-9a-f]{{{2 * DIGEST_BYTES}}}", re.ASCII)


def murmur2(key: bytes) -> int:
    """Return Kafka's murmur2 of `key`, unsigned (org.apache.kafka.common.utils.Utils.murmur2)."""
    return murmurhash2(key, _JAVA_SEED)


def partition_of(key: bytes, count: int) -> int:
    """Return the partition that Java's and aiokafka's default partitioners choose for `key` among `count`."""
    return (murmurhash2(key, _JAVA_SEED) & 0x7FFFFFFF) % count


def home_of(event: Envelope, count: int) -> int:
    """Return the partition where `event` is processed: that of its key, else of its own id, else where it landed."""
    text = event[5]
    if text is None:
        if not event[2]:
            return event[11]
        text = event[0]
    return (murmurhash2(text.encode(), _JAVA_SEED) & 0x7FFFFFFF) % count


def event_digest(source: str, key: str | None, event_id: str, *, explicit: bool = True) -> bytes:
    """Return the identity of an event, 12 bytes.

    The lengths stand in front, so that no two different triples are written alike. An id that Headgate made itself
    (`explicit=False`) never equals one that a producer chose, even if it reads the same.
    """
    where = "-" if key is None else len(key)
    mark = "" if explicit else "@"
    text = f"{mark}{len(source)},{where},{source}{'' if key is None else key}{event_id}"
    hashed = _EMPTY.copy()  # half the time of a new one
    hashed.update(text.encode())
    return hashed.digest()


def digest_of(event: Envelope) -> bytes:
    """Return `event_digest` of an envelope."""
    key = event[5]
    if key is None or event[1] or not event[2]:
        return event_digest(event[1], key, event[0], explicit=event[2])
    hashed = _EMPTY.copy()  # as `event_digest` does, for most events
    hashed.update(f"0,{len(key)},{key}{event[0]}".encode())
    return hashed.digest()


def run_id(workflow_id: str, digest: bytes) -> str:
    """Return the id of the run that an event (a batch: its first event) starts in a workflow."""
    return f"{workflow_id}:{digest.hex()}"


def is_workflow_id(text: str) -> bool:
    """Whether `text` has the form of a workflow's id."""
    return _WORKFLOW_ID.fullmatch(text) is not None


def is_run_id(text: str) -> bool:
    """Whether `text` has the form of a run's id."""
    return _RUN_ID.fullmatch(text) is not None


def published_event_id(run: str, step_key: str) -> str:
    """Return the id of the event that a step of a run publishes. Workflow ids hold no colon, so it is unambiguous."""
    text = f"{run}:{step_key}"
    if len(text) <= _MAX_ID:
        return text
    return f"{run}:{blake2b(step_key.encode(), digest_size=16).hexdigest()}"


def child_event_id(run: str, step_key: str, n: int) -> str:
    """Return the id of the event that starts child `n` of a step: never that of one that a step publishes."""
    text = f"{run}#{n}:{step_key}"
    if len(text) <= _MAX_ID:
        return text
    return f"{run}#{n}:{blake2b(step_key.encode(), digest_size=16).hexdigest()}"


def failure_event_id(run: str) -> str:
    """Return the id of the event that starts what a workflow names in `on_failure`."""
    return f"{run}#failed"


def traceparent_of(parent: str | None, digest: str) -> str:
    """Return the W3C traceparent of what `digest` (24 hex digits) identifies.

    It is in its parent's trace, or the first of a trace of its own.
    """
    if parent is None:
        return f"00-{digest}{digest[:8]}-{digest[:16]}-01"
    return f"00-{parent[3:35]}-{digest[:16]}-{parent[53:55]}"


def home(key: str | None, event_id: str | None, count: int) -> int | None:
    """Return the partition to which a producer of ours sends an event, None for any (it has neither key nor id)."""
    text = event_id if key is None else key
    return None if text is None else partition_of(text.encode(), count)

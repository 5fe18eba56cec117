"""What workers say of themselves and of their workflows in the topic `workflows`. Schemas: `topics.schemas`."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from topics.facts import Record
from topics.timestamps import rfc3339

_dumps = orjson.dumps
WORKER_KEY: Final = "worker/"
"""What the keys of workers in `workflows` begin with; their instance id follows."""


def workflow_announced(
    *,
    workflow_id: str,
    version: str,
    triggers: Sequence[str],
    batch_size: int,
    batch_timeout_seconds: float | None,
    batch_by: str,
    order: str,
    max_retries: int,
    timeout_seconds: float | None,
    has_filter: bool,
    description: str,
    schema: dict[str, Any] | None,
    announced_at_ms: int,
    announced_by: str,
    schedule: dict[str, str] | None = None,
    cancel_on: Sequence[str] = (),
    has_cancel_filter: bool = False,
    on_failure: str | None = None,
) -> Record:
    """Return the announcement of a workflow by the worker `announced_by` (its instance id).

    One without a schedule, `cancel_on`, a filter of it, or `on_failure` does not mention it: so it is the same that a
    release wrote which knew no such thing.
    """
    value = _dumps(
        {
            "id": workflow_id,
            "version": version,
            "triggers": list(triggers),
            "batch_size": batch_size,
            "batch_timeout_seconds": batch_timeout_seconds,
            "batch_by": str(batch_by),
            "order": str(order),
            "max_retries": max_retries,
            "timeout_seconds": timeout_seconds,
            "has_filter": has_filter,
            "description": description,
            "schema": schema,
            "announced_at": rfc3339(announced_at_ms),
            "announced_by": announced_by,
        }
        | ({} if schedule is None else {"schedule": schedule})
        | ({"cancel_on": list(cancel_on)} if cancel_on else {})
        | ({"has_cancel_filter": True} if has_cancel_filter else {})
        | ({} if on_failure is None else {"on_failure": on_failure})
    )
    return Record(workflow_id.encode(), value, [("content-type", b"application/json")])


def workflows_loaded(
    *, instance_id: str, process: str, workflows: Mapping[str, str], every_seconds: float, at_ms: int
) -> Record:
    """Return what the worker `instance_id` says of itself: the versions of what it has loaded, by workflow id.

    It says so anew every `every_seconds`; one that is silent for long is gone. `process` is another one at each start.
    """
    value = _dumps(
        {
            "instance_id": instance_id,
            "process": process,
            "workflows": dict(workflows),
            "every_seconds": every_seconds,
            "at": rfc3339(at_ms),
        }
    )
    return Record(worker_key(instance_id), value, [("content-type", b"application/json")])


def worker_key(instance_id: str) -> bytes:
    """Return the key in `workflows` of what a worker says of itself."""
    return f"{WORKER_KEY}{instance_id}".encode()


def is_workflow_key(key: bytes) -> bool:
    """Whether a record of `workflows` is about a workflow: ids have no slash. Of other keys, pass over the unknown."""
    return b"/" not in key

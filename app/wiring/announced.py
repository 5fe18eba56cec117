"""The announcements of workflows: what others run, and what this worker has to announce itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.engine.outgoing import Record
from app.kafka.follow import TopicState
from headgate.definition import BatchBy, Order, Workflow
from topics import facts
from topics.patterns import Pattern


class Announced:
    """What the topic `workflows` says. Unreadable records are passed over: they are not this worker's."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._known: dict[str, dict[str, Any]] = {}
        self._stand_ins: dict[str, Workflow] = {}
        self._retired: set[str] = set()

    async def attach(self, _found: TopicState) -> Mapping[int, int]:
        self._known.clear()
        self._stand_ins.clear()
        self._retired.clear()
        return {}

    def take(self, records: Sequence[Any]) -> bool:
        """Take announcements; say whether anything changed."""
        changed = False
        for one in records:
            try:
                workflow_id = one.key.decode()
                found = None if one.value is None else orjson.loads(one.value)
            except (AttributeError, UnicodeDecodeError, orjson.JSONDecodeError):
                continue
            if found is None or (isinstance(found, dict) and "retired_at" in found):
                changed |= self._known.pop(workflow_id, None) is not None or workflow_id not in self._retired
                self._stand_ins.pop(workflow_id, None)
                self._retired.add(workflow_id)
            elif self._known.get(workflow_id) != found:
                try:
                    self._stand_ins[workflow_id] = _stand_in(workflow_id, found)
                except (LookupError, TypeError, ValueError):
                    continue
                self._known[workflow_id] = found
                self._retired.discard(workflow_id)
                changed = True
        return changed

    def others(self, loaded: Sequence[Workflow]) -> tuple[Workflow, ...]:
        """Return what is announced and not loaded here: it matches events, which then wait for an owner that has it."""
        own = {one.id for one in loaded}
        return tuple(found for name, found in sorted(self._stand_ins.items()) if name not in own)

    def retired(self) -> tuple[str, ...]:
        """Return the ids of the workflows that somebody retired."""
        return tuple(sorted(self._retired))

    def missing(self, loaded: Sequence[Workflow], now_ms: int) -> list[Record]:
        """Return the announcements of what is loaded and not announced as it is."""
        records: list[Record] = []
        for one in loaded:
            made = facts.workflow_announced(
                workflow_id=one.id,
                version=one.version,
                triggers=one.triggers,
                batch_size=one.batch_size,
                batch_timeout_seconds=one.batch_timeout_seconds,
                batch_by=one.batch_by,
                order=one.order,
                max_retries=one.max_retries,
                timeout_seconds=one.timeout_seconds,
                has_filter=one.filter is not None,
                description=one.description,
                schema=one.schema,
                announced_at_ms=now_ms,
                announced_by=self._instance_id,
            )
            value = orjson.loads(made.value)
            if _essence(self._known.get(one.id)) != _essence(value):
                self._known[one.id] = value
                self._stand_ins[one.id] = _stand_in(one.id, value)
                records.append(Record("workflows", 0, made.key, made.value, tuple(made.headers)))
        return records


def _essence(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """An announcement without who made it and when: each worker would otherwise repeat all of them."""
    if found is None:
        return None
    return {name: value for name, value in found.items() if name not in ("announced_at", "announced_by")}


def _stand_in(workflow_id: str, found: Mapping[str, Any]) -> Workflow:
    """A workflow that matches like the announced one and is never called here. Raises when it cannot be read."""
    return Workflow(
        id=workflow_id,
        fn=_never,
        triggers=tuple(found["triggers"]),
        patterns=tuple(Pattern.parse(one) for one in found["triggers"]),
        batch_size=found["batch_size"],
        batch_timeout_seconds=found["batch_timeout_seconds"],
        batch_by=BatchBy(found["batch_by"]),
        filter=None,
        order=Order(found["order"]),
        max_retries=found["max_retries"],
        timeout_seconds=found["timeout_seconds"],
        version=found["version"],
        is_async=False,
        takes_payload=True,
        description=found["description"],
        source_file="",
        source_line=0,
        typed_data=None,
    )


def _never(*_args: Any) -> Any:
    raise RuntimeError("an announced workflow was called where it is not loaded")

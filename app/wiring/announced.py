"""The announcements of workflows: what others run, and what this worker has to announce itself.

Each announcement and retirement of a workflow has a later time than the one before it, whatever the clocks say, so that
of two forms of a workflow everybody takes the same one for the newer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from app.engine.values import known
from app.engine.values.known import Definition
from app.engine.values.outgoing import Record
from app.kafka.follow import TopicState
from app.observe import logs
from headgate.definition import Workflow
from topics import announcement
from topics.timestamps import milliseconds

MOST_BYTES: Final = 2 * 1024 * 1024
"""Of the definitions that others announced: each partition's journal holds all of them in one record."""

log = logs.get(__name__)


class Announced:
    """What the topic `workflows` says. Unreadable records are passed over: they are not this worker's."""

    def __init__(self, instance_id: str) -> None:
        self._instance_id = instance_id
        self._known: dict[str, dict[str, Any]] = {}
        self._definitions: dict[str, Definition] = {}
        self._bytes: dict[str, int] = {}
        self._all_bytes = 0
        self._retired: dict[str, int] = {}

    async def attach(self, _found: TopicState) -> Mapping[int, int]:
        self._known.clear()
        self._definitions.clear()
        self._bytes.clear()
        self._all_bytes = 0
        self._retired.clear()
        return {}

    def take(self, records: Sequence[Any]) -> bool:
        """Take announcements; say whether anything changed."""
        changed = False
        for one in records:
            try:
                if not announcement.is_workflow_key(one.key):
                    continue
                workflow_id = one.key.decode()
                found = None if one.value is None else orjson.loads(one.value)
                if found is None or (isinstance(found, dict) and "retired_at" in found):
                    changed |= self._retire(workflow_id, found)
                elif self._known.get(workflow_id) != found:
                    changed |= self._hear(workflow_id, found)
            except (AttributeError, LookupError, TypeError, ValueError):
                continue
        return changed

    def definitions(self) -> tuple[Definition, ...]:
        """Return what is announced, own workflows included: events that only the announced form takes sleep here."""
        return tuple(one for _, one in sorted(self._definitions.items()))

    def retired(self) -> dict[str, int]:
        """Return which workflows somebody retired, and when (ms)."""
        return dict(self._retired)

    def _last_ms(self, workflow_id: str) -> int:
        """When the workflow was last announced or retired."""
        definition = self._definitions.get(workflow_id)
        return self._retired.get(workflow_id, -1) if definition is None else definition.announced_ms

    def _hear(self, workflow_id: str, found: dict[str, Any]) -> bool:
        """Take what somebody announced, if there is room for it."""
        at_ms = max(milliseconds(found["announced_at"]), self._last_ms(workflow_id) + 1)
        definition = known.from_announcement(workflow_id, found, announced_ms=at_ms)
        size = _size(definition)
        if self._all_bytes - self._bytes.get(workflow_id, 0) + size > MOST_BYTES:
            remedy = "retire workflows that nobody loads any more: headgate workflows retire ID"
            log.warning("announcement_passed_over", workflow=workflow_id, bytes=size, most=MOST_BYTES, remedy=remedy)
            return False
        self._define(definition, found, size)
        return True

    def _define(self, definition: Definition, found: dict[str, Any], size: int) -> None:
        self._definitions[definition.id] = definition
        self._known[definition.id] = found
        self._all_bytes += size - self._bytes.get(definition.id, 0)
        self._bytes[definition.id] = size
        self._retired.pop(definition.id, None)

    def _retire(self, workflow_id: str, found: dict[str, Any] | None) -> bool:
        if workflow_id in self._retired:
            return False
        at_ms = 0 if found is None else milliseconds(found["retired_at"])
        self._retired[workflow_id] = max(at_ms, self._last_ms(workflow_id) + 1)
        self._known.pop(workflow_id, None)
        self._definitions.pop(workflow_id, None)
        self._all_bytes -= self._bytes.pop(workflow_id, 0)
        return True

    def missing(self, loaded: Sequence[Workflow], now_ms: int) -> list[Record]:
        """Return the announcements of what is loaded and not announced as it is."""
        records: list[Record] = []
        for one in loaded:
            made = announcement.workflow_announced(
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
                announced_at_ms=max(now_ms, self._last_ms(one.id) + 1),
                announced_by=self._instance_id,
                schedule=None if one.schedule is None else known.schedule_value(one.schedule),
                cancel_on=one.cancel_on,
                has_cancel_filter=one.cancel_filter is not None,
                on_failure=one.on_failure,
            )
            value = orjson.loads(made.value)
            if _essence(self._known.get(one.id)) != _essence(value):
                definition = known.from_announcement(one.id, value, announced_ms=milliseconds(value["announced_at"]))
                self._define(definition, value, _size(definition))
                records.append(Record("workflows", 0, made.key, made.value, tuple(made.headers)))
        return records


def _size(definition: Definition) -> int:
    """How many bytes of the journal it takes."""
    return len(definition.id) + len(orjson.dumps(known.described(definition)))


def _essence(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """An announcement without who made it and when: each worker would otherwise repeat all of them."""
    if found is None:
        return None
    return {name: value for name, value in found.items() if name not in ("announced_at", "announced_by")}

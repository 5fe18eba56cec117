"""How all sources are, read at once: what is set up (`triggers`), and what their owners said last (`sources`).

Called by `headgate connectors status`. The gateway follows the same topics.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from app.kafka import records
from app.kafka.admin import Admin
from app.settings import KafkaSettings
from connectors.base import registry
from topics import catalog
from topics.sources import Spec, State, Unsuitable, spec_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One source. `status` is empty as long as nobody has said anything."""

    id: str
    kind: str
    status: Mapping[str, Any]
    spec: Spec
    remark: str = ""

    @property
    def state(self) -> str:
        """Its state, as far as anybody has said."""
        return str(self.status.get("state") or "unknown")

    @property
    def failed(self) -> bool:
        """Whether somebody has to mend it."""
        return self.state == State.FAILED

    def record(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"id": self.id, "kind": self.kind, "state": self.state, "origin": self.spec.origin, **self.status}


def listed(kafka: KafkaSettings, admin: Admin) -> dict[str, Listed]:
    """Return all sources that are set up, by id. Raises TopicMissing, KafkaUnreachable."""
    statuses = records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "sources"))
    found = {}
    for key, record in records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "triggers")).items():
        try:
            spec = spec_of(record.value or b"")
        except Unsuitable:
            continue
        status = _object(statuses[key].value) if key in statuses else {}
        found[spec.id] = Listed(
            id=spec.id, kind=spec.kind, status=status, spec=spec, remark="" if status else _why_silent(spec)
        )
    return found


def _why_silent(spec: Spec) -> str:
    try:
        if registry.load(spec.kind).make is None:
            return "received by the gateway"
    except registry.UnknownKind as error:
        return str(error)
    return "nobody has said anything yet: start `headgate connectors`"


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        found = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}

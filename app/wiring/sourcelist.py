"""How all sources are, read at once: what is set up (`triggers`), and what their owners said last (`sources`).

Called by `headgate connectors status` and `headgate doctor`. The gateway follows the same topics.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from app.kafka import records
from app.kafka.admin import Admin, AdminError
from app.settings import KafkaSettings
from connectors.base.kinds import registry
from topics import catalog
from topics.sources import Spec, State, Unsuitable, spec_of, webhook_path

_LIVE: Final = (State.STARTING, State.CONNECTED, State.BACKING_OFF)
"""States that are true only as long as somebody runs the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One source. `status` is empty as long as nobody has said anything."""

    id: str
    kind: str
    status: Mapping[str, Any]
    spec: Spec
    remark: str = ""
    unattended: bool = False
    """Nobody runs it: its status is what the last one said."""

    @property
    def state(self) -> str:
        """Its state, as far as anybody who runs it has said."""
        return "unknown" if self.unattended else str(self.status.get("state") or "unknown")

    @property
    def failed(self) -> bool:
        """Whether somebody has to mend it."""
        return self.state == State.FAILED

    @property
    def problem(self) -> str:
        """What is wrong with it, or worth knowing."""
        error = self.status.get("error")
        return str(error.get("message")) if isinstance(error, dict) and not self.unattended else self.remark

    def record(self) -> dict[str, Any]:
        """As JSON shows it."""
        first = {"id": self.id, "kind": self.kind, "state": self.state, "origin": self.spec.origin}
        if (path := webhook_path(self.spec)) is not None:
            first["path"] = path
        return first | {name: value for name, value in self.status.items() if name not in first}


def listed(kafka: KafkaSettings, admin: Admin, *, group: str | None = None) -> dict[str, Listed]:
    """Return all sources that are set up, by id. Raises TopicMissing, KafkaUnreachable.

    With the `group` of the processes that run them, whether there is any: what the last one said is not how they are.
    """
    attended = group is None or _has_members(admin, group)
    statuses = records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "sources"))
    found = {}
    for key, record in records.last_values(kafka, admin, catalog.qualified(kafka.prefix, "triggers")).items():
        try:
            spec = spec_of(record.value or b"", key=key)
        except Unsuitable:
            continue
        status = _object(statuses[key].value) if key in statuses else {}
        unattended = not attended and status.get("state") in _LIVE and not _is_received(spec)
        found[spec.id] = Listed(
            id=spec.id,
            kind=spec.kind,
            status=status,
            spec=spec,
            remark=_remark(spec, status, unattended=unattended),
            unattended=unattended,
        )
    return found


def set_up(kafka: KafkaSettings) -> dict[str, Spec]:
    """Return what `triggers` says now. What is no spec belongs to a newer release, and is left alone."""
    found: dict[str, Spec] = {}
    topic = catalog.qualified(kafka.prefix, "triggers")
    for key, record in records.last_values(kafka, Admin.connect(kafka), topic).items():
        with suppress(Unsuitable):
            found[key.decode(errors="replace")] = spec_of(record.value or b"", key=key)
    return found


def _has_members(admin: Admin, group: str) -> bool:
    try:
        return bool(admin.group(group).members)
    except AdminError:  # who may not ask cannot doubt
        return True


def _remark(spec: Spec, status: Mapping[str, Any], *, unattended: bool) -> str:
    if unattended:
        return f"no process runs it, it was {status['state']} last: start `headgate connectors`"
    if not status:
        return _why_silent(spec)
    dead = status.get("dead_letters")
    return f"{dead} dead letters: `headgate tail dlq`" if dead else webhook_path(spec) or ""


def _is_received(spec: Spec) -> bool:
    """Whether the gateway receives it, and no process reads it."""
    try:
        return registry.load(spec.kind).make is None
    except registry.UnknownKind:
        return False


def _why_silent(spec: Spec) -> str:
    if _is_received(spec):
        return f"received by the gateway at {webhook_path(spec)}"
    try:
        registry.load(spec.kind)
    except registry.UnknownKind as error:
        return str(error)
    return "nobody has said anything yet: start `headgate connectors`"


def _object(value: bytes | None) -> dict[str, Any]:
    try:
        found = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}

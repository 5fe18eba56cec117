"""The workflows that workers have announced: which of them an event triggers, and GET /api/v1/workflows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.gateway import schemas
from app.gateway.errors import JSON, not_found
from app.kafka.follow import Record, TopicIdentity, TopicState
from app.observe import logs
from topics import announcement, keys
from topics.fields import parse
from topics.malformed import Malformed
from topics.patterns import Pattern, PatternError
from topics.reserved import START

REMEMBERED_TOPICS: Final = 10_000

log = logs.get(__name__)
router = APIRouter()


class Freshness(Protocol):
    """How old what is shown may be."""

    def freshness(self) -> Mapping[str, Any]:
        """`behind_records`, `behind_seconds`, `rebuilding`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The workflows that an event on one topic triggers; for those in `filter_decides` their filter has a say."""

    workflows: tuple[str, ...]
    filter_decides: tuple[str, ...]
    members: bytes
    """The same as members of a JSON object, encoded once for all events of the topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Announced:
    record: Mapping[str, Any]
    patterns: tuple[Pattern, ...]
    has_filter: bool


@dataclass(slots=True)
class Workflows:
    """Follows the announcements (it is the `attach` and `take` of a Follower) and answers by logical topic."""

    _announced: dict[str, _Announced] = field(default_factory=dict)
    _literal: dict[str, list[str]] = field(default_factory=dict)
    _patterns: list[tuple[Pattern, str]] = field(default_factory=list)
    _known: dict[str, Matches] = field(default_factory=dict)
    _identity: TopicIdentity | None = None
    _positions: dict[int, int] = field(default_factory=dict)

    def matching(self, topic: str) -> Matches:
        """Return what an event on `topic` triggers."""
        found = self._known.get(topic)
        if found is None:
            found = self._match(topic)
            if len(self._known) >= REMEMBERED_TOPICS:
                self._known.clear()
            self._known[topic] = found
        return found

    def all(self) -> list[Mapping[str, Any]]:
        """Every announcement, by id."""
        return [self._announced[one].record for one in sorted(self._announced)]

    def get(self, workflow_id: str) -> Mapping[str, Any] | None:
        found = self._announced.get(workflow_id)
        return None if found is None else found.record

    async def attach(self, state: TopicState) -> Mapping[int, int]:
        """Go on where it was, or begin again when the topic is another one."""
        shrunken = any(state.end.get(p, -1) < position for p, position in self._positions.items())
        if shrunken or (self._identity is not None and state.identity != self._identity):
            self._announced.clear()
            self._positions.clear()
            self._index()
        self._identity = state.identity
        return self._positions

    async def take(self, records: Sequence[Record]) -> None:
        """Learn announcements and retirements."""
        changed = False
        for record in records:
            self._positions[record.partition] = record.offset + 1
            if not announcement.is_workflow_key(record.key or b""):
                continue  # a worker's word, which comes all the time
            changed = True
            workflow_id = (record.key or b"").decode(errors="replace")
            announced = _read(record.value, workflow_id)
            if announced is None:
                self._announced.pop(workflow_id, None)
            else:
                self._announced[workflow_id] = announced
        if changed:
            self._index()

    def _match(self, topic: str) -> Matches:
        found = {*self._literal.get(topic, ()), *(one for pattern, one in self._patterns if pattern.matches(topic))}
        if topic.startswith(START) and topic.removeprefix(START) in self._announced:
            found.add(topic.removeprefix(START))
        workflows = tuple(sorted(found))
        filtered = tuple(one for one in workflows if self._announced[one].has_filter)
        encoded = orjson.dumps({"workflows": workflows, "filter_decides": filtered})
        return Matches(workflows=workflows, filter_decides=filtered, members=encoded[1:-1])

    def _index(self) -> None:
        self._known.clear()
        self._literal.clear()
        self._patterns.clear()
        for workflow_id, announced in self._announced.items():
            for pattern in announced.patterns:
                if pattern.is_literal:
                    self._literal.setdefault(pattern.text, []).append(workflow_id)
                else:
                    self._patterns.append((pattern, workflow_id))


def _read(value: bytes | None, workflow_id: str) -> _Announced | None:
    """Return an announcement; None for a retired workflow, and for what is none (it is logged)."""
    if value is None:
        return None
    try:
        record = parse(value)
        if "retired_at" in record:
            return None
        if not keys.is_workflow_id(workflow_id):
            raise KeyError(workflow_id)
        patterns = tuple(Pattern.parse(trigger) for trigger in record["triggers"])
    except (Malformed, AttributeError, KeyError, TypeError, PatternError) as error:
        log.warning("announcement_not_understood", workflow=workflow_id, reason=repr(error))
        return None
    return _Announced(record=record, patterns=patterns, has_filter=bool(record.get("has_filter")))


@router.get("/api/v1/workflows", responses={200: {"model": schemas.WorkflowList}})
async def list_workflows(request: Request) -> Response:
    """Every workflow that a worker has announced and nobody has retired."""
    gateway = request.app.state.gateway
    body = {"workflows": gateway.workflows.all(), "read_model": gateway.read_model.freshness()}
    return Response(orjson.dumps(body), media_type=JSON)


@router.get("/api/v1/workflows/{workflow_id}", responses={200: {"model": schemas.OneWorkflow}, **schemas.NOT_FOUND})
async def show_workflow(request: Request, workflow_id: str) -> Response:
    """One workflow as its workers announced it."""
    gateway = request.app.state.gateway
    found = gateway.workflows.get(workflow_id)
    if found is None:
        remedy = "GET /api/v1/workflows lists those that are known; a worker that loads it announces it."
        raise not_found("workflow", workflow_id, remedy)
    return Response(orjson.dumps({"workflow": found, "read_model": gateway.read_model.freshness()}), media_type=JSON)

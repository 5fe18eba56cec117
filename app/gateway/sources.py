"""The sources that are set up and how they are: follows `triggers` and `sources`, and GET /api/v1/sources.

Of webhooks nobody else says how they are: this gateway receives them, and tells what it has seen itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.gateway import schemas
from app.gateway.errors import JSON, not_found
from app.gateway.hooks import Hooks
from app.kafka.follow import Record, TopicIdentity, TopicState
from app.observe import logs
from topics.sources import Spec, State, Unsuitable, spec_of

UNKNOWN: Final = "unknown"
"""The state of a source of which nobody has said anything, or whose owner is gone and has no successor."""
_LIVE: Final = (State.STARTING, State.CONNECTED, State.BACKING_OFF)
"""States that are true only as long as somebody runs the source."""
_EMPTY: Final[Mapping[str, Any]] = {
    "state": UNKNOWN,
    "since": None,
    "owner": "",
    "epoch": "",
    "connected_at": None,
    "last_event_at": None,
    "last_byte_at": None,
    "events_received": 0,
    "events_filtered": 0,
    "dead_letters": 0,
    "reconnect_attempts": 0,
    "next_retry_at": None,
    "error": None,
    "last_error": None,
    "position": None,
    "notes": {},
    "delivery": "",
    "updated_at": None,
}

log = logs.get(__name__)
router = APIRouter()


class Followed:
    """The `attach` of a follower whose owner keeps the last record of every key."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._identity: TopicIdentity | None = None
        self._positions: dict[int, int] = {}

    async def attach(self, state: TopicState) -> Mapping[int, int]:
        """Go on where it was, or begin again when the topic is another one."""
        shrunken = any(state.end.get(p, -1) < position for p, position in self._positions.items())
        if shrunken or (self._identity is not None and state.identity != self._identity):
            self._positions.clear()
            self._forget()
        self._identity = state.identity
        return self._positions

    def took(self, record: Record) -> None:
        """A record was taken."""
        self._positions[record.partition] = record.offset + 1


class Sources:
    """What is set up, and what owners said last. Options are not kept here: they may be anything."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self._specs: dict[str, Spec] = {}
        self._statuses: dict[str, Mapping[str, Any]] = {}
        self.triggers = Followed(self._forget_specs)
        self.told = Followed(self._statuses.clear)
        self.known: Callable[[], bool] = lambda: True
        """Whether everything that was set up when this gateway began has been read."""
        self.attended: Callable[[], bool] = lambda: True
        """Whether there is any process that runs sources."""

    async def take_triggers(self, records: Sequence[Record]) -> None:
        """Learn what is set up, and what no longer."""
        for record in records:
            self.triggers.took(record)
        for record in {record.key: record for record in records}.values():  # what is overwritten is not begun
            name = (record.key or b"").decode(errors="replace")
            if record.value is None:
                self._specs.pop(name, None)
                self.hooks.remove(name)
                continue
            try:
                spec = spec_of(record.value, key=record.key or b"")
            except Unsuitable as error:
                log.warning("source_unsuitable", source=name, reason=str(error))
                continue
            self._specs[name] = spec
            self.hooks.configure(spec)

    async def take_statuses(self, records: Sequence[Record]) -> None:
        """Learn how sources are."""
        for record in records:
            self.told.took(record)
            name = (record.key or b"").decode(errors="replace")
            status = None if record.value is None else _object(record.value)
            if status is None:
                self._statuses.pop(name, None)
            else:
                self._statuses[name] = status

    def all(self) -> list[dict[str, Any]]:
        """Every source, by id."""
        return [self._shown(self._specs[name]) for name in sorted(self._specs)]

    def get(self, instance_id: str) -> dict[str, Any] | None:
        spec = self._specs.get(instance_id)
        return None if spec is None else self._shown(spec)

    def _shown(self, spec: Spec) -> dict[str, Any]:
        hook, status = self.hooks.get(spec.id), self._statuses.get(spec.id, {})
        if hook is not None:
            status = hook.watched.status.to_record()
        elif status.get("state") in _LIVE and not self.attended():
            status = {**status, "state": UNKNOWN}
        return {
            "id": spec.id,
            "kind": spec.kind,
            **_EMPTY,
            **{name: value for name, value in status.items() if name in _EMPTY},
            "origin": spec.origin,
            "topic": spec.topic or "{{ source.id }}/{{ type }}",
            "paused": spec.paused,
            "path": None if hook is None else hook.path,
        }

    def _forget_specs(self) -> None:
        for name in self._specs:
            self.hooks.remove(name)
        self._specs.clear()


def _object(value: bytes) -> Mapping[str, Any] | None:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


@router.get("/api/v1/sources", responses={200: {"model": schemas.SourceList}})
async def list_sources(request: Request) -> Response:
    """Every source that is set up, and how it is."""
    sources: Sources = request.app.state.gateway.sources
    return Response(orjson.dumps({"sources": sources.all(), "rebuilding": not sources.known()}), media_type=JSON)


@router.get("/api/v1/sources/{source_id}", responses={200: {"model": schemas.OneSource}, **schemas.NOT_FOUND})
async def show_source(request: Request, source_id: str) -> Response:
    """One source, and how it is."""
    sources: Sources = request.app.state.gateway.sources
    found = sources.get(source_id)
    if found is None:
        remedy = "GET /api/v1/sources lists those that are set up; `headgate connectors FILE` sets up what a file says."
        raise not_found("source", source_id, remedy)
    return Response(orjson.dumps({"source": found, "rebuilding": not sources.known()}), media_type=JSON)

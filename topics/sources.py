"""What travels about sources: how each is set up (`triggers`), how far it has read (`cursors`), how it is (`sources`).

All of it is JSON by instance id. Written by `headgate connectors` and by runs, read by everybody.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final, Literal

import orjson

from topics import keys, reserved
from topics.facts import Record
from topics.timestamps import milliseconds, rfc3339

FORMAT: Final = 1
SPEC_BYTES: Final = 512 * 1024
"""Most JSON that a source's set-up may take: the broker refuses records of `triggers` above twice as much."""
POSITION_BYTES: Final = 4 * 1024 * 1024
"""Most JSON that a position may take."""
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,49}", re.ASCII)
_JSON: Final = [("content-type", b"application/json")]


class Unsuitable(ValueError):
    """A record about a source is none: the words say what is wrong."""


def is_source_id(text: object) -> bool:
    """Whether `text` can be the id of an instance: letters, digits, `.`, `_` and `-`, at most 100."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_kind(text: object) -> bool:
    """Whether `text` has the form of a kind, such as `http-stream`."""
    return isinstance(text, str) and _KIND.fullmatch(text) is not None


def partition_of(instance_id: str, count: int) -> int:
    """Return the partition of `triggers`, `cursors` and `actions` in which everything about an instance is."""
    return keys.partition_of(instance_id.encode(), count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How one source is set up, as its owner is to run it. Secrets are not in it: options name them."""

    id: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    filter: Mapping[str, Any] | None = None
    """Which events are published (connectors.base.texts.filters); None: all."""
    reconnect: Mapping[str, Any] = field(default_factory=dict)
    """Fields of connectors.base.backoff.Reconnect."""
    topic: str | None = None
    """Template of the logical topic; None: `{id}/{type}`."""
    key: str | None = None
    """Template of the key; None: what the kind says."""
    paused: bool = False
    origin: str = ""
    """Who set it up: `file <name>`, `run <id>` or `api`. Only the same one removes it."""

    @property
    def digest(self) -> str:
        """Tells whether anything that matters to its owner has changed."""
        value = self.to_record()
        del value["origin"]
        return blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()

    def to_record(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "format": FORMAT,
            "id": self.id,
            "kind": self.kind,
            "options": dict(self.options),
            "filter": None if self.filter is None else dict(self.filter),
            "reconnect": dict(self.reconnect),
            "topic": self.topic,
            "key": self.key,
            "paused": self.paused,
            "origin": self.origin,
        }


def configured(spec: Spec) -> Record:
    """Return the record of `triggers` that sets up a source."""
    return Record(spec.id.encode(), orjson.dumps(spec.to_record()), _JSON)


def removed(instance_id: str) -> tuple[bytes, None]:
    """Return key and value of the record of `triggers`, `cursors` or `sources` that removes a source."""
    return instance_id.encode(), None


def spec_of(value: bytes, *, key: bytes | None = None) -> Spec:
    """Read a record of `triggers`. Raises Unsuitable, also where its key, if that is given, is not the source's id."""
    found = _object(value)
    if found.get("format", FORMAT) != FORMAT:
        raise _newer(found)
    spec = made_of(found, origin=_said(found, "origin"))
    if key is not None and key != spec.id.encode():
        raise Unsuitable(f"/id is {_short(spec.id)}, and the record's key is another")
    return spec


FIELDS: Final = frozenset({"id", "kind", "options", "filter", "reconnect", "topic", "key", "paused"})
"""What a user may say of a source."""


def made_of(found: Mapping[str, Any], *, origin: str) -> Spec:
    """Return the spec that a user or a record describes. Raises Unsuitable, which names the field."""
    if not is_source_id(found.get("id")):
        raise Unsuitable(
            f"/id is {_short(found.get('id'))}; an id has 1 to 100 letters, digits, `.`, `_` or `-`, the first a "
            "letter or a digit"
        )
    if found["id"] == reserved.HEAD:
        raise Unsuitable(f"/id is {reserved.HEAD!r}, and topics that begin so are Headgate's own; choose another")
    if not is_kind(found.get("kind")):
        raise Unsuitable(
            f"/kind is {_short(found.get('kind'))}; `headgate connectors kinds` lists the kinds of sources"
        )
    for name in ("options", "filter", "reconnect"):
        if found.get(name) is not None and not isinstance(found[name], dict):
            raise Unsuitable(f"/{name} is {_short(found[name])}; it has to be an object")
    for name in ("topic", "key"):
        if found.get(name) is not None and not (isinstance(found[name], str) and found[name]):
            raise Unsuitable(f"/{name} is {_short(found[name])}; it has to be a text")
    if not isinstance(found.get("paused") or False, bool):
        raise Unsuitable(f"/paused is {_short(found['paused'])}; it has to be true or false")
    made = Spec(
        id=found["id"],
        kind=found["kind"],
        options=found.get("options") or {},
        filter=found.get("filter"),
        reconnect=found.get("reconnect") or {},
        topic=found.get("topic"),
        key=found.get("key"),
        paused=bool(found.get("paused")),
        origin=origin,
    )
    try:
        size = len(orjson.dumps(made.to_record()))
    except TypeError as error:  # what YAML knows and JSON does not; what is nested too deep
        raise Unsuitable(f"what it says cannot be written as JSON: {error}") from None
    if size > SPEC_BYTES:
        raise Unsuitable(f"it has {size} bytes, {SPEC_BYTES} are allowed")
    return made


# ---- how far it has read ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a source has been read: `position` is the kind's own JSON, `epoch` its owner's."""

    position: Any
    epoch: str
    kind: str


def cursor_moved(instance_id: str, cursor: Cursor, *, at_ms: int) -> tuple[bytes, bytes]:
    """Return key and value of the record of `cursors`. Raises Unsuitable: the position is too large, or no JSON."""
    try:
        position = orjson.dumps(cursor.position)
    except TypeError as error:
        raise Unsuitable(f"the position of source {instance_id!r} cannot be written as JSON: {error}") from None
    if len(position) > POSITION_BYTES:
        raise Unsuitable(
            f"the position of source {instance_id!r} has {len(position)} bytes, {POSITION_BYTES} are allowed"
        )
    value = {
        "format": FORMAT,
        "kind": cursor.kind,
        "epoch": cursor.epoch,
        "at": rfc3339(at_ms),
        "position": orjson.Fragment(position),
    }
    return instance_id.encode(), orjson.dumps(value)


def cursor_of(value: bytes) -> Cursor:
    """Read a record of `cursors`. Raises Unsuitable."""
    found = _object(value)
    if found.get("format") != FORMAT:
        raise _newer(found)
    return Cursor(position=found.get("position"), epoch=_said(found, "epoch"), kind=_said(found, "kind"))


# ---- what is sent through it -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a run asks a source to send. `id` is its idempotency key, the same at every repetition."""

    id: str
    source: str
    body: Mapping[str, Any]
    expires_ms: int
    """Milliseconds since 1970 after which it is not tried any more."""


def asked_to_send(message: Message) -> Record:
    """Return the record of `actions`."""
    value = {
        "format": FORMAT,
        "id": message.id,
        "source": message.source,
        "body": dict(message.body),
        "expires_at": rfc3339(message.expires_ms),
    }
    return Record(message.source.encode(), orjson.dumps(value), _JSON)


def message_of(value: bytes) -> Message:
    """Read a record of `actions`. Raises Unsuitable."""
    found = _object(value)
    if found.get("format") != FORMAT:
        raise _newer(found)
    if not (isinstance(found.get("id"), str) and isinstance(found.get("body"), dict)):
        raise Unsuitable("it has no id, or its body is no object")
    if not is_source_id(found.get("source")):
        raise Unsuitable(f"/source is {_short(found.get('source'))}, the id of no source")
    try:
        expires_ms = milliseconds(found["expires_at"])
    except (KeyError, TypeError, ValueError):
        raise Unsuitable(f"/expires_at is {_short(found.get('expires_at'))}, no time") from None
    return Message(id=found["id"], source=found["source"], body=found["body"], expires_ms=expires_ms)


WEBHOOK: Final = "webhook"
"""The kind that the gateway receives."""
WEBHOOKS: Final = "/webhooks/"
"""What the paths of all webhooks begin with."""


def webhook_path(spec: Spec) -> str | None:
    """Return where the gateway receives a source, None for one that is read."""
    return f"{WEBHOOKS}{spec.options.get('provider')}/{spec.id}" if spec.kind == WEBHOOK else None


def state_topic(instance_id: str) -> str:
    """Return the logical topic on which the owner of a source that a run has set up says how it is."""
    return f"{reserved.SOURCES}{instance_id}"


def sent_topic(message_id: str) -> str:
    """Return the logical topic on which a source's owner says what became of a message."""
    return f"{reserved.SENT}{blake2b(message_id.encode(), digest_size=16).hexdigest()}"


# ---- how it is -------------------------------------------------------------------------------------------------------


class State(StrEnum):
    """How a source is."""

    STARTING = "starting"
    """Its owner has begun; the link is not there yet."""
    CONNECTED = "connected"
    BACKING_OFF = "backing off"
    """The link broke; it is made again at `next_retry_at`."""
    PAUSED = "paused"
    """Told to rest, or the source said that there is no more."""
    FAILED = "failed"
    """Somebody has to mend it: `error` says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The last thing that went wrong. No secret is in it."""

    kind: Literal["transient", "permanent"]
    reason: str
    message: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a source was, by its owner. Times are milliseconds since 1970.

    Counts, its last event, byte and error are since this owner began; its position is not.
    """

    id: str
    kind: str
    state: State
    since_ms: int
    updated_at_ms: int
    owner: str = ""
    epoch: str = ""
    connected_at_ms: int | None = None
    last_event_at_ms: int | None = None
    last_byte_at_ms: int | None = None
    events_received: int = 0
    events_filtered: int = 0
    dead_letters: int = 0
    reconnect_attempts: int = 0
    next_retry_at_ms: int | None = None
    error: Problem | None = None
    """What is wrong now."""
    last_error: Problem | None = None
    """What went wrong last, be it over or not."""
    position: str | None = None
    """The position as JSON, cut short."""
    notes: Mapping[str, int] = field(default_factory=dict)
    delivery: str = ""

    def to_record(self) -> dict[str, Any]:
        """As it is written and shown: times in RFC 3339."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state.value,
            "since": rfc3339(self.since_ms),
            "owner": self.owner,
            "epoch": self.epoch,
            "connected_at": _time(self.connected_at_ms),
            "last_event_at": _time(self.last_event_at_ms),
            "last_byte_at": _time(self.last_byte_at_ms),
            "events_received": self.events_received,
            "events_filtered": self.events_filtered,
            "dead_letters": self.dead_letters,
            "reconnect_attempts": self.reconnect_attempts,
            "next_retry_at": _time(self.next_retry_at_ms),
            "error": _problem(self.error),
            "last_error": _problem(self.last_error),
            "position": self.position,
            "notes": dict(self.notes),
            "delivery": self.delivery,
            "updated_at": rfc3339(self.updated_at_ms),
        }


def status_told(status: Status) -> Record:
    """Return the record of `sources`."""
    return Record(status.id.encode(), orjson.dumps(status.to_record()), _JSON)


def _problem(problem: Problem | None) -> dict[str, Any] | None:
    if problem is None:
        return None
    return {
        "kind": problem.kind,
        "reason": problem.reason,
        "message": problem.message,
        "at": rfc3339(problem.at_ms),
    }


def _time(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Unsuitable(f"it is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unsuitable("it is not a JSON object")
    return found


def _newer(found: Mapping[str, Any]) -> Unsuitable:
    return Unsuitable(f"format {_short(found.get('format'))} is not known here; it was written by a newer release")


def _said(found: Mapping[str, Any], name: str) -> str:
    """Return a text of a record, "" where there is none."""
    value = found.get(name)
    return value if isinstance(value, str) else ""


def _short(value: object) -> str:
    try:
        text = "missing" if value is None else repr(value)
    except RecursionError:
        text = "nested too deep"
    return text if len(text) <= 60 else f"{text[:57]}..."

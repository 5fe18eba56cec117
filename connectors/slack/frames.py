"""The frames of Slack's Socket Mode, read and written: text in, values out, without any input or output.

Slack docs, "Using Socket Mode". Frames with an `envelope_id` are deliveries, which want an acknowledgement with that id
on the same socket; `hello` and `disconnect` are Slack's housekeeping.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import orjson

RATE_LIMITED: Final = "app_rate_limited"
"""Event type: Slack keeps back events of a workspace, which had more than 30,000 in an hour."""
INTERACTIVE: Final = "interactive"
SLASH_COMMAND: Final = "slash_command"

_TYPE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_TOKENS: Final = frozenset({"token", "bot_access_token"})
"""The verification token, which is the same in each payload, and the token that lets a function's steps act."""
_NO_ID: Final = "it has no id of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The socket is ready: from here on deliveries come. `connections` is how many the app has, if Slack says so."""

    connections: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """Slack will close the socket: `warning`, `refresh_requested`, `link_disabled`, `too_many_websockets`."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a delivery tells. `data` is Slack's payload as it came, without its tokens."""

    id: str
    event_type: str
    data: dict[str, Any]
    key: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """Something that is not understood, with its bytes. `id` is the same when Slack repeats it."""

    id: str
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One envelope: its id is another one when Slack repeats what is in it. None: it cannot be acknowledged."""

    envelope_id: str | None
    content: Event | Puzzle
    retry_attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Housekeeping of a type that is not known here; nothing follows from it."""

    type: str


Frame = Hello | Disconnect | Delivery | Other


def parse(message: str | bytes) -> Frame:
    """Return what a frame says; whatever is in it, nothing is raised."""
    try:
        frame = orjson.loads(message)
    except ValueError as error:
        return _puzzle(None, f"the frame is not JSON: {error}", message)
    if not isinstance(frame, dict):
        return _puzzle(None, "the frame is no JSON object", message)
    kind = _text(frame, "type")
    envelope_id = _text(frame, "envelope_id")
    if envelope_id is None and "payload" not in frame:
        if kind == "hello":
            return Hello(connections=_count(frame.get("num_connections")))
        if kind == "disconnect":
            return Disconnect(reason=_text(frame, "reason") or "unknown")
        return Other(type=kind or "none")
    read = _READERS.get(kind or "")
    payload = frame.get("payload")
    if read is None:
        return _puzzle(envelope_id, "the envelope is of a type that is not known", message, frame)
    if not isinstance(payload, dict):
        return _puzzle(envelope_id, "the envelope has no payload that is a JSON object", message, frame)
    event = read(_without_tokens(payload), envelope_id)
    if isinstance(event, str):
        return _puzzle(envelope_id, event, message, frame)
    return Delivery(envelope_id=envelope_id, content=event, retry_attempt=_count(frame.get("retry_attempt")) or 0)


def acknowledgement(envelope_id: str) -> str:
    """Return the frame that acknowledges an envelope."""
    return orjson.dumps({"envelope_id": envelope_id}).decode()


# ---- what is in an envelope: an event, or words that say why it is none ----------------------------------------------


def _events_api(payload: dict[str, Any], envelope_id: str | None) -> Event | str:
    """Slack docs, "Events API": a callback around the event itself, or one of few types without one."""
    outer = _text(payload, "type")
    inner = payload.get("event")
    if outer == RATE_LIMITED:
        return Event(
            id=f"{RATE_LIMITED}:{_digest(payload) or envelope_id}",
            event_type=RATE_LIMITED,
            data=payload,
            created_at=_time(payload.get("minute_rate_limited")),
        )
    if not isinstance(inner, dict):
        return "the payload has no event"
    event_type = _text(inner, "type")
    if event_type is None or not _TYPE.fullmatch(event_type):
        return "the event has no type"
    event_id = _text(payload, "event_id") or _digest(payload) or envelope_id
    if event_id is None:
        return _NO_ID
    return Event(
        id=event_id,
        event_type=event_type,
        data=payload,
        key=_channel_of_event(inner) or _id_of(inner.get("user")),
        created_at=_time(payload.get("event_time")) or _time(inner.get("event_ts")),
    )


def _interactive(payload: dict[str, Any], envelope_id: str | None) -> Event | str:
    """Slack docs, "Interaction payloads": buttons, shortcuts, views; not all of them have a trigger_id."""
    event_id = _text(payload, "trigger_id") or envelope_id
    if event_id is None:
        return _NO_ID
    actions = payload.get("actions")
    first = actions[0] if isinstance(actions, list) and actions else None
    channel = _id_of(payload.get("channel")) or _id_of(_inside(payload.get("container"), "channel_id"))
    return Event(
        id=event_id,
        event_type=INTERACTIVE,
        data=payload,
        key=channel or _id_of(payload.get("user")),
        created_at=_time(payload.get("action_ts")) or _time(_inside(first, "action_ts")),
    )


def _slash_command(payload: dict[str, Any], envelope_id: str | None) -> Event | str:
    """Slack docs, "Slash commands"."""
    event_id = _text(payload, "trigger_id") or envelope_id
    if event_id is None:
        return _NO_ID
    return Event(
        id=event_id,
        event_type=SLASH_COMMAND,
        data=payload,
        key=_text(payload, "channel_id") or _text(payload, "user_id"),
    )


def _channel_of_event(event: Mapping[str, Any]) -> str | None:
    """Return the channel an event belongs to: events name it in different places."""
    return (
        _id_of(event.get("channel"))
        or _id_of(event.get("channel_id"))
        or _id_of(_inside(event.get("item"), "channel"))
        or _id_of(_inside(event.get("assistant_thread"), "channel_id"))
    )


# ---- small readings --------------------------------------------------------------------------------------------------


def _inside(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _text(where: Mapping[str, Any], name: str) -> str | None:
    value = where.get(name)
    return value if isinstance(value, str) and value else None


def _id_of(value: object) -> str | None:
    """Return an id that is given as such, or as the `id` of an object."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _time(value: object) -> datetime | None:
    """Return the time of seconds since 1970, which Slack writes as a number or as a text with microseconds."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _without_tokens(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payload without its tokens. What only serves to answer (`response_url`, `trigger_id`) stays."""
    bare = {name: value for name, value in payload.items() if name not in _TOKENS}
    event = bare.get("event")
    if isinstance(event, dict):
        bare["event"] = {name: value for name, value in event.items() if name not in _TOKENS}
    return bare


def _puzzle(
    envelope_id: str | None, reason: str, message: str | bytes, frame: Mapping[str, Any] | None = None
) -> Delivery:
    raw = message if isinstance(message, bytes) else message.encode(errors="surrogatepass")
    payload = None if frame is None else frame.get("payload")
    if frame is not None and isinstance(payload, dict):
        bare = _without_tokens(payload)
        raw = _json({**frame, "payload": bare}) or raw
        payload = bare
    told = None if payload is None else _digest(payload)
    name = told or envelope_id or blake2b(raw, digest_size=16).hexdigest()
    return Delivery(envelope_id=envelope_id, content=Puzzle(id=f"unreadable:{name}", reason=reason, raw=raw))


def _digest(value: object) -> str | None:
    encoded = _json(value)
    return None if encoded is None else blake2b(encoded, digest_size=16).hexdigest()


def _json(value: object) -> bytes | None:
    """Return JSON, None for what is nested too deeply to be written again."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return None


_READERS: Final = {"events_api": _events_api, "interactive": _interactive, "slash_commands": _slash_command}

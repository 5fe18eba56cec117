"""The gateway's payloads: bytes to values, and values to texts. Called by the reader, for everything in and out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

MAX_SENT_BYTES: Final = 4096
"""Discord closes a connection over which a larger payload comes (4002)."""

_PROPERTIES: Final = {"os": "linux", "browser": "headgate", "device": "headgate"}
MAX_SEQ: Final = 1 << 53
_NAME_LENGTH: Final = 100
_INTERVAL_MS: Final = (10, 3_600_000)


class Undecodable(Exception):
    """This is no payload of the gateway; the text says why, without the payload."""


class TooLarge(Exception):
    """This payload must not be sent: Discord would close the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Op 10."""

    interval_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acked:
    """Op 11: a heartbeat has arrived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeatAsked:
    """Op 1: a heartbeat is wanted at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectAsked:
    """Op 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalidated:
    """Op 9."""

    resumable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """Op 0."""

    seq: int
    name: str
    """As Discord writes it, such as `MESSAGE_CREATE`."""
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """An opcode that means nothing here."""

    op: int


Frame = Hello | Acked | BeatAsked | ReconnectAsked | Invalidated | Dispatched | Unknown


def decode(raw: str | bytes) -> Frame:
    """Read a payload. Raises Undecodable."""
    try:
        payload = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Undecodable("the payload is no JSON") from error
    if not isinstance(payload, dict) or type(op := payload.get("op")) is not int:
        raise Undecodable("the payload has no opcode")
    match op:
        case 0:
            return _dispatched(payload)
        case 1:
            return BeatAsked()
        case 7:
            return ReconnectAsked()
        case 9:
            return Invalidated(resumable=payload.get("d") is True)
        case 10:
            return _hello(payload.get("d"))
        case 11:
            return Acked()
    return Unknown(op=op)


def identify(*, token: str, intents: int, shard: tuple[int, int] | None) -> str:
    """Op 2. Raises TooLarge."""
    data: dict[str, Any] = {"token": token, "intents": intents, "properties": _PROPERTIES}
    if shard is not None:
        data["shard"] = list(shard)
    return _encoded(2, data)


def resume(*, token: str, session_id: str, seq: int) -> str:
    """Op 6. Raises TooLarge."""
    return _encoded(6, {"token": token, "session_id": session_id, "seq": seq})


def heartbeat(seq: int | None) -> str:
    """Op 1."""
    return _encoded(1, seq)


def _encoded(op: int, data: Any) -> str:
    text = orjson.dumps({"op": op, "d": data})
    if len(text) > MAX_SENT_BYTES:
        raise TooLarge(f"a payload of opcode {op} has {len(text)} bytes, and Discord takes {MAX_SENT_BYTES}")
    return text.decode()


def _dispatched(payload: Mapping[str, Any]) -> Dispatched:
    seq, name = payload.get("s"), payload.get("t")
    if type(seq) is not int or not 0 <= seq < MAX_SEQ:
        raise Undecodable("the dispatch has no sequence number")
    if not isinstance(name, str) or len(name) > _NAME_LENGTH or not (name.isascii() and name.isidentifier()):
        raise Undecodable("the dispatch has no name")
    return Dispatched(seq=seq, name=name, data=payload.get("d"))


def _hello(data: Any) -> Hello:
    interval = data.get("heartbeat_interval") if isinstance(data, dict) else None
    least, most = _INTERVAL_MS
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not least <= interval <= most:
        raise Undecodable("the hello has no heartbeat interval")
    return Hello(interval_seconds=interval / 1000)

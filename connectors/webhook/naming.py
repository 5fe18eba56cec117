"""What a delivery is called: its id, its type and when it happened, by provider. Nothing here is random.

An id that cannot be one (none, too long, no text) gives way to a hash of the raw body.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from connectors.base.services.signature import digest_of
from connectors.base.texts.templates import at
from connectors.webhook.config import Config, Provider
from connectors.webhook.messages import Request
from topics.timestamps import milliseconds

RECEIVED: Final = "received"
"""The type of events whose sender names none."""
MOST_TYPE_CHARS: Final = 200
MOST_ID_CHARS: Final = 400
_LATEST_SECONDS: Final = 253_402_300_799  # the year 9999
DISCORD_INTERACTIONS: Final[Mapping[int, str]] = {
    1: "ping",
    2: "application_command",
    3: "message_component",
    4: "autocomplete",
    5: "modal_submit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """Of one event."""

    id: str
    type: str
    created_at: datetime | None = None


def name_of(config: Config, request: Request, body: Any) -> Name:
    """Return the name of a delivery; `body` is its JSON."""
    given_id, given_type, created_at = _NAMES[config.provider](config, request, body)
    return Name(
        id=_id(given_id) or digest_of(request.body),
        type=_type(given_type) or RECEIVED,
        created_at=time_of(created_at),
    )


_Given = tuple[Any, Any, Any]


def _open(config: Config, request: Request, body: Any) -> _Given:
    given_id = _header(request, config.id_header)
    if given_id is None and config.id_field is not None:
        given_id = at(body, config.id_field)
    given_type = _header(request, config.type_header)
    if given_type is None and config.type_field is not None:
        given_type = at(body, config.type_field)
    return given_id, given_type, None


def _github(_config: Config, request: Request, _body: Any) -> _Given:
    return _header(request, "x-github-delivery"), _header(request, "x-github-event"), None


def _stripe(_config: Config, _request: Request, body: Any) -> _Given:
    return at(body, "id"), at(body, "type"), at(body, "created")


def _slack(_config: Config, _request: Request, body: Any) -> _Given:
    if not isinstance(body, dict):
        return None, None, None
    if "command" in body:
        return body.get("trigger_id"), "slash_command", None
    if body.get("type") == "event_callback":
        return body.get("event_id"), at(body, "event.type"), body.get("event_time")
    if body.get("type") == "app_rate_limited":
        return None, "app_rate_limited", None
    return body.get("trigger_id"), "interactive", None


def _standard(_config: Config, request: Request, body: Any) -> _Given:
    return _header(request, "webhook-id"), at(body, "type"), at(body, "timestamp")


def _discord(_config: Config, _request: Request, body: Any) -> _Given:
    if at(body, "event.type") and isinstance(at(body, "event.type"), str):
        return None, at(body, "event.type"), at(body, "event.timestamp")
    kind = at(body, "type")
    return at(body, "id"), DISCORD_INTERACTIONS.get(kind) if type(kind) is int else None, None


def _header(request: Request, name: str | None) -> str | None:
    values = [] if name is None else request.values(name.encode())
    return values[0].decode("latin-1").strip() if len(values) == 1 else None


def _id(given: Any) -> str | None:
    if type(given) is int:
        given = str(given)
    return given if isinstance(given, str) and 0 < len(given) <= MOST_ID_CHARS and given.isprintable() else None


def id_of(text: str) -> str:
    """Return the text as an id, or a hash of it where it cannot be one."""
    return _id(text) or digest_of(text.encode())


def _type(given: Any) -> str | None:
    if not isinstance(given, str):
        return None
    given = given.strip()
    return given if 0 < len(given) <= MOST_TYPE_CHARS and given.isprintable() else None


def time_of(given: Any) -> datetime | None:
    """Return a time in seconds since 1970 or in RFC 3339; None for what is neither."""
    if type(given) in (int, float) and 0 < given < _LATEST_SECONDS:
        return datetime.fromtimestamp(given, UTC)
    if isinstance(given, str):
        try:
            return datetime.fromtimestamp(milliseconds(given) / 1000, UTC)
        except (ValueError, OverflowError):
            return None
    return None


_NAMES: Final[Mapping[Provider, Callable[[Config, Request, Any], _Given]]] = {
    Provider.NONE: _open,
    Provider.TOKEN: _open,
    Provider.HMAC: _open,
    Provider.GITHUB: _github,
    Provider.STRIPE: _stripe,
    Provider.SLACK: _slack,
    Provider.STANDARD: _standard,
    Provider.DISCORD: _discord,
}

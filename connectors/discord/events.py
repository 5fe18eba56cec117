"""Dispatches as events: their types, ids and keys. Called by the reader for what is to be told.

What happens to an entity once in its life is named by the entity, so that a message is one event whether the gateway
told it or the history did. Anything else is named by its session and its number there, which a resumption repeats.
Edits are among the latter: the edit time does not tell them apart, since a message that is pinned, or whose links are
unfolded, is sent as an update with the time of its last edit.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from connectors.base.contract import UNMOVED, Received
from connectors.discord import snowflakes
from connectors.discord.frames import Dispatched

MESSAGE: Final = "message_create"
HOUSEKEEPING: Final = frozenset({"ready", "resumed"})
"""Dispatches about the session: never events."""

ONCE: Final[Mapping[str, tuple[str, ...]]] = {
    "message_create": ("id",),
    "message_delete": ("id",),
    "interaction_create": ("id",),
    "channel_create": ("id",),
    "channel_delete": ("id",),
    "thread_delete": ("id",),
    "guild_audit_log_entry_create": ("id",),
    "guild_role_create": ("role", "id"),
    "guild_role_delete": ("role_id",),
    "guild_scheduled_event_create": ("id",),
    "guild_scheduled_event_delete": ("id",),
    "stage_instance_create": ("id",),
    "stage_instance_delete": ("id",),
    "auto_moderation_rule_create": ("id",),
    "auto_moderation_rule_delete": ("id",),
    "integration_create": ("id",),
    "entitlement_create": ("id",),
    "subscription_create": ("id",),
}
"""Where the id of the entity is, by the types that happen once in its life. Others recur, `guild_create` among them."""


def event_type(name: str) -> str:
    return name.lower()


def received(event: Dispatched, *, session_id: str, position: Any = UNMOVED) -> Received:
    """Return a dispatch as an event."""
    told = event_type(event.name)
    data = event.data if isinstance(event.data, dict) else {}
    entity = _entity(told, data)
    return Received(
        id=f"{told}/{entity}" if entity is not None else f"{session_id}/{event.seq}",
        event_type=told,
        data=event.data,
        key=_key(data),
        created_at=_created_at(told, data, entity),
        position=position,
    )


def message(data: Mapping[str, Any], message_id: str, *, position: Any = UNMOVED) -> Received:
    """Return a message of a channel's history as the event that the gateway would have told."""
    return Received(
        id=f"{MESSAGE}/{message_id}",
        event_type=MESSAGE,
        data=dict(data),
        key=_key(data),
        created_at=snowflakes.created_at(message_id),
        position=position,
    )


def channel_and_message(event: Dispatched) -> tuple[str, str] | None:
    """Return the ids of channel and message of a new message, None for anything else."""
    if event_type(event.name) != MESSAGE or not isinstance(event.data, dict):
        return None
    channel, message_id = snowflakes.read(event.data.get("channel_id")), snowflakes.read(event.data.get("id"))
    return None if channel is None or message_id is None else (channel, message_id)


def _entity(told: str, data: Mapping[str, Any]) -> str | None:
    found: Any = data
    for name in ONCE.get(told, ("",)):
        found = found.get(name) if isinstance(found, dict) else None
    return snowflakes.read(found)


def _key(data: Mapping[str, Any]) -> str | None:
    return snowflakes.read(data.get("channel_id")) or snowflakes.read(data.get("guild_id"))


def _created_at(told: str, data: Mapping[str, Any], entity: str | None) -> datetime | None:
    """Return when it happened: an id of what is created tells, or a timestamp of its own."""
    if entity is not None and told.endswith("_create"):
        return snowflakes.created_at(entity)
    timestamp = data.get("timestamp")
    if told == "typing_start" and type(timestamp) is int and 0 < timestamp < 1 << 33:
        return datetime.fromtimestamp(timestamp, UTC)
    return None

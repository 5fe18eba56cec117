"""Gateway intents: which events Discord sends, by their names (Discord: Gateway, List of Intents)."""

from collections.abc import Mapping
from typing import Any, Final

INTENTS: Final[Mapping[str, int]] = {
    "GUILDS": 1 << 0,
    "GUILD_MEMBERS": 1 << 1,
    "GUILD_MODERATION": 1 << 2,
    "GUILD_EXPRESSIONS": 1 << 3,
    "GUILD_INTEGRATIONS": 1 << 4,
    "GUILD_WEBHOOKS": 1 << 5,
    "GUILD_INVITES": 1 << 6,
    "GUILD_VOICE_STATES": 1 << 7,
    "GUILD_PRESENCES": 1 << 8,
    "GUILD_MESSAGES": 1 << 9,
    "GUILD_MESSAGE_REACTIONS": 1 << 10,
    "GUILD_MESSAGE_TYPING": 1 << 11,
    "DIRECT_MESSAGES": 1 << 12,
    "DIRECT_MESSAGE_REACTIONS": 1 << 13,
    "DIRECT_MESSAGE_TYPING": 1 << 14,
    "MESSAGE_CONTENT": 1 << 15,
    "GUILD_SCHEDULED_EVENTS": 1 << 16,
    "AUTO_MODERATION_CONFIGURATION": 1 << 20,
    "AUTO_MODERATION_EXECUTION": 1 << 21,
    "GUILD_MESSAGE_POLLS": 1 << 24,
    "DIRECT_MESSAGE_POLLS": 1 << 25,
}
USUAL: Final = INTENTS["GUILDS"] | INTENTS["GUILD_MESSAGES"] | INTENTS["MESSAGE_CONTENT"]
"""33281: messages in guilds, with what they say."""
MOST: Final = (1 << 31) - 1
"""A number may name intents that are newer than the table."""


def number(value: Any) -> Any:
    """Return the number of a list of names, or of names with commas between them; leave anything else to the type.

    Raises ValueError for a name that no intent has.
    """
    names = value.split(",") if isinstance(value, str) and not value.strip().isdigit() else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return value
    cleaned = [name.strip().upper() for name in names]
    unknown = sorted(set(cleaned) - set(INTENTS))
    if unknown:
        shown = ", ".join(repr(name[:40]) for name in unknown[:5])
        raise ValueError(f"there is no intent {shown}; there are {', '.join(INTENTS)}")
    total = 0
    for name in cleaned:
        total |= INTENTS[name]
    return total

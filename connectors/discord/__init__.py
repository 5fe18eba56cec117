"""Discord's gateway (version 10) by hand: sessions survive restarts, within Discord's limits. See `session` for how.

config: the options
reader: the source itself; wire: one connection; session: its state machine; closes: the table of close codes
frames: payloads; events: dispatches as events; place: the position; budget: how often a session may begin
rest: the HTTP API; limits: its rate limits; backfill: the history of channels; sending: what can be sent
"""

from typing import Any, Final

from connectors.base.contract import Delivery
from connectors.discord.config import Config
from connectors.discord.reader import Source

EXAMPLE: Final[dict[str, Any]] = {
    "token": "{{ env.DISCORD_TOKEN }}",
    "intents": ["GUILDS", "GUILD_MESSAGES", "MESSAGE_CONTENT"],
    "events": ["message_create", "interaction_create"],
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE

__all__ = ["Config", "DELIVERY", "EXAMPLE", "Source"]

"""What a Discord bot sees (gateway version 10): messages, interactions and other events; sessions survive restarts.

An event has the type that Discord gives it, in lower case, and Discord's data. Discord allows a bot 1,000 sessions a
day: a session is gone on with where that is possible, and the next one waits where the day's are used up.

Modules: config: the options
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
EMITS: Final = """\
Discord's types in lower case (`message_create`, `interaction_create`, ...). The data is what Discord says: of a
message `{id, channel_id, guild_id, author, content, ...}`. The key is the channel, else the guild."""
SENDS: Final = """\
`{channel, content, embeds, components, allowed_mentions, flags, reply_to, tts}` is a message into a channel, as an
answer to the message `reply_to` if that is given. With `action` it is something else: `reaction` with `channel`,
`message` and `emoji`; `answer` with `interaction` and `token` of an interaction, and `content` and the like (within 3 s
of it; `type: 5` says that the answer comes later); `edit_answer` with `application`, `token` and `content` (within 15
minutes). Discord makes a repeated message once."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "SENDS", "Config", "Source"]

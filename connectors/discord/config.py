"""The options of a source of kind `discord`."""

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints, field_validator, model_validator

from connectors.base.options import Field, Options, SecretStr, Url
from connectors.discord import intents as known
from connectors.discord.events import HOUSEKEEPING

Snowflake = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")]
EventName = Annotated[
    str,
    BeforeValidator(lambda name: name.lower() if isinstance(name, str) else name),
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,99}$"),
]

_MOST_CHANNELS = 200
_PREFIX = "Bot "


class Config(Options):
    """One shard of one bot."""

    token: SecretStr = Field(min_length=1, max_length=512, description="The bot's token.")
    intents: Annotated[int, BeforeValidator(known.number)] = Field(
        default=known.USUAL,
        ge=0,
        le=known.MOST,
        description=(
            "What Discord sends: names of intents, or their number. The default is GUILDS, GUILD_MESSAGES and "
            "MESSAGE_CONTENT, the last of which has to be enabled for the bot in Discord's developer portal."
        ),
    )
    events: tuple[EventName, ...] = Field(
        default=(),
        max_length=200,
        description="Types of events to take, such as `message_create`. All that the intents bring when it is empty.",
    )
    shard: tuple[int, int] | None = Field(
        default=None,
        description=(
            "Which shard this source is, as `[id, count]`. A bot in many guilds has one source for each shard; without "
            "it the source is the only one."
        ),
    )
    backfill: bool = Field(
        default=True,
        description="Ask channels for the messages of the meantime, after a session was lost.",
    )
    backfill_channels: tuple[Snowflake, ...] = Field(
        default=(),
        max_length=_MOST_CHANNELS,
        description="Channels to ask after a lost session. When it is empty, those from which messages have come.",
    )
    backfill_limit: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Messages that are asked for in one channel after a lost session, at most; the oldest come first.",
    )
    api_url: Url = Field(default="https://discord.com/api/v10", description="Where Discord's HTTP API is.")

    @field_validator("token")
    @classmethod
    def _bare(cls, token: SecretStr) -> SecretStr:
        bare = token.get_secret_value().strip().removeprefix(_PREFIX)
        if not bare or not bare.isascii() or any(not " " < letter <= "~" for letter in bare):
            raise ValueError("a token has visible letters of ASCII alone")
        return SecretStr(bare)

    @field_validator("events")
    @classmethod
    def _events(cls, events: tuple[str, ...]) -> tuple[str, ...]:
        never = sorted(HOUSEKEEPING & set(events))
        if never:
            raise ValueError(f"{', '.join(never)}: about the session, and never an event")
        return events

    @model_validator(mode="after")
    def _shards(self) -> "Config":
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1] <= 1 << 20:
            raise ValueError("shard is [id, count], and the id runs from 0 to count - 1")
        return self

    def takes(self, event_type: str) -> bool:
        """Tell whether events of a type are wanted."""
        return event_type not in HOUSEKEEPING and (not self.events or event_type in self.events)

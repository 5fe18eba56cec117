"""A Discord bot that answers: it throws dice, and reminds people hours later, whatever has been restarted meanwhile.

export DISCORD_TOKEN=...
headgate dev examples/discord_bot examples/discord_bot/sources.yaml
"""

import re
from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Payload, workflow

HELP: Final = "I know `!roll 2d6` and `!remind 10m tea is ready`."
DICE: Final = re.compile(r"(\d{1,2})?d(\d{1,3})", re.ASCII)
SPAN: Final = re.compile(r"(\d{1,3})([smhd])\s+(.+)", re.ASCII | re.DOTALL)
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DAY: Final = 86_400.0


class Author(BaseModel):
    """Who wrote it."""

    id: str


class Message(BaseModel):
    """What Discord says of a message, as far as it matters here."""

    id: str
    channel_id: str
    content: str
    author: Author


@workflow(id="discord_bot", trigger_on_event="bot/message_create")
async def discord_bot(ctx: Context, payload: Payload[Message]) -> str:
    """Answer one command. A channel's messages are handled in order; a reminder that waits holds nobody up."""
    message = payload["events"][0]["data"]
    command, _, rest = message.content.removeprefix("!").partition(" ")
    match command:
        case "roll":
            text = await roll(ctx, rest.strip())
        case "remind":
            text = await remind(ctx, message, rest.strip())
        case _:
            text = HELP
    await ctx.sources.send(
        "answer",
        "bot",
        {
            "channel": message.channel_id,
            "reply_to": message.id,
            "content": text[:2000],
            "allowed_mentions": {"users": [message.author.id]},  # nobody else is called, whatever the text says
        },
        timeout=DAY,  # as long as Discord, or the process that is connected to it, may be away
    )
    return text


async def roll(ctx: Context, dice: str) -> str:
    """Throw dice. The numbers belong to the run: called again after a crash, it throws the same."""
    found = DICE.fullmatch(dice)
    count, sides = (int(found[1] or 1), int(found[2])) if found else (0, 0)
    if not 1 <= count <= 20 or sides < 2:
        return HELP
    thrown = [1 + int(await ctx.step.random(f"die-{number}") * sides) for number in range(count)]
    return f"{' + '.join(map(str, thrown))} = {sum(thrown)}"


async def remind(ctx: Context, message: Message, wanted: str) -> str:
    """Show that it was understood, and wait; the answer is the reminder."""
    found = SPAN.fullmatch(wanted)
    if found is None:
        return HELP
    seen: dict[str, Any] = {"action": "reaction", "channel": message.channel_id, "message": message.id, "emoji": "⏰"}
    await ctx.sources.send("seen", "bot", seen, timeout=DAY)
    await ctx.step.sleep("until-then", int(found[1]) * SECONDS[found[2]])
    return f"<@{message.author.id}> {found[3]}"

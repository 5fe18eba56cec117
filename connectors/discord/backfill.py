"""The history of channels, asked for after a lost session: what its events would have told of new messages.

Called by the reader. What is asked for comes in order, page by page; the position moves with each message.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from connectors.base.contract import NotConnected, Site
from connectors.discord import snowflakes
from connectors.discord.limits import Route
from connectors.discord.rest import Ask, Rest

PAGE: Final = 100


async def history(
    rest: Rest, site: Site, *, channel: str, after: str, limit: int
) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
    """Yield ids and messages that are newer than `after`, oldest first, at most `limit`.

    A channel that is gone, or that the bot may not read, has none: that is told, and counted. Raises Refused,
    NotConnected.
    """
    told, guild = 0, _Guild(rest, channel)
    while told < limit:
        reply = await rest.ask(
            Ask(
                method="GET",
                path=f"/channels/{channel}/messages?after={after}&limit={PAGE}",
                route=Route(form="GET /channels/messages", major=channel),
            )
        )
        if reply.status != 200:
            site.note("backfill_refused")
            site.say("discord_channel_refused", channel=channel, problem=reply.problem())
            return
        page = ordered(reply.data, after=after)
        for message_id, message in page[: limit - told]:
            yield message_id, {**await guild.named(), "channel_id": channel, **message}
        told += len(page[: limit - told])
        if len(reply.data) < PAGE or not page:
            return
        after = page[-1][0]
    site.note("backfill_cut")
    site.say("discord_backfill_cut", channel=channel, limit=limit, after=after)


def ordered(page: Any, *, after: str) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the messages of a page with their ids, oldest first. Raises NotConnected when it is no page.

    Discord sends the newest first. What is not newer than `after` is left out, so that paging always goes on.
    """
    if not isinstance(page, list):
        raise NotConnected("Discord answered a question for messages with something else", reason="protocol")
    found: dict[str, Mapping[str, Any]] = {}
    for message in page:
        message_id = snowflakes.read(message.get("id")) if isinstance(message, dict) else None
        if message_id is not None and snowflakes.newer(message_id, after):
            found[message_id] = message
    return sorted(found.items(), key=lambda one: int(one[0]))


class _Guild:
    """The guild of a channel: messages of the history do not name theirs, those of the gateway do."""

    def __init__(self, rest: Rest, channel: str) -> None:
        self._rest, self._channel = rest, channel
        self._found: Mapping[str, Any] | None = None

    async def named(self) -> Mapping[str, Any]:
        if self._found is None:
            path = f"/channels/{self._channel}"
            route = Route(form="GET /channels", major=self._channel)
            reply = await self._rest.ask(Ask(method="GET", path=path, route=route))
            guild = snowflakes.read(reply.data.get("guild_id")) if isinstance(reply.data, dict) else None
            self._found = {} if guild is None else {"guild_id": guild}
        return self._found

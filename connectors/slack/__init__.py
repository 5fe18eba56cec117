"""Slack through Socket Mode: events of the Events API, interactions and slash commands; messages can be sent as well.

Slack repeats what is not acknowledged within 3 s, under the same event id; an event is acknowledged once the broker has
it, and not later than 2.5 s after it came. Interactions and commands are not promised to be repeated: whoever clicked
sees an error then, and clicks again; so it is for some seconds while the source moves to another process. What Slack
wants an answer to within those 3 s cannot be served (options of a menu, errors of a view); everything else is answered
at the `response_url` of the event, or with `views.open`.

The data of an event is Slack's payload without its tokens. The `response_url` stays in it, as answers need it: for half
an hour whoever reads the event can post there.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final

from connectors.base import contract
from connectors.base.contract import Item, NotConnected, Received, Site, Unreadable
from connectors.base.options import Field, Options, Seconds, SecretStr, Url
from connectors.slack import frames
from connectors.slack.links import Arrived, Links
from connectors.slack.web import Web

EXAMPLE: Final = {
    "app_token": "{{ env.SLACK_APP_TOKEN }}",
    "bot_token": "{{ env.SLACK_BOT_TOKEN }}",
    "events": ["app_mention", "slash_command"],
}
DELIVERY: Final = contract.Delivery.AT_LEAST_ONCE
EMITS: Final = """\
the type of the event within (`message`, `app_mention`, ...), `interactive` or `slash_command`. The data is Slack's
payload: of an event `{team_id, event_id, event_time, event: {type, channel, user, text, ...}, ...}`, of a command
`{command, text, channel_id, user_id, response_url, ...}`. The key is the channel, else the user."""
SENDS: Final = """\
the arguments of a method of Slack's Web API, with the bot token: `{channel, text, blocks, thread_ts, ...}` for
`chat.postMessage`, or another one that `method` names: `chat.postEphemeral`, `chat.update`, `chat.delete`,
`reactions.add`, `views.open`, `views.push`, `views.publish`, `views.update`. With the `response_url` of an event it is
posted there, and needs no token. The reply is Slack's answer."""

ACKNOWLEDGE_SECONDS: Final = 2.5
"""Slack waits 3 s for an acknowledgement; one that may come later than that is not sent."""


class Config(Options):
    """How an app of Slack is read and written to."""

    app_token: SecretStr = Field(description="App-level token (xapp-...) with the scope connections:write.")
    bot_token: SecretStr | None = Field(
        default=None, description="Bot token (xoxb-...), needed to send messages through the source only."
    )
    events: tuple[str, ...] | None = Field(
        default=None,
        description="Types to take, such as message, app_mention, reaction_added, interactive, slash_command; "
        "the others are acknowledged and dropped. None: all that the app has subscribed to.",
    )
    api_url: Url = Field(
        default="https://slack.com/api/",
        description="Where the Web API is: another one for GovSlack (https://slack-gov.com/api/).",
    )
    ping_seconds: Seconds = Field(
        default=10.0, description="Seconds between pings; a socket over which nothing comes for three of them is dead."
    )


class Source:
    """At-least-once: `event_id` stays the same when Slack repeats an event, `envelope_id` does not."""

    def __init__(self, config: Config, site: Site) -> None:
        self._config, self._site = config, site
        self._types = None if config.events is None else frozenset(config.events)
        self._web = Web(site, config.api_url)

    async def read(self) -> AsyncIterator[Item]:
        """Yield what comes over all sockets. See `connectors.base.contract.Source`."""
        links = Links(
            self._site, partial(self._web.socket_url, self._config.app_token), ping_seconds=self._config.ping_seconds
        )
        try:
            links.open()
            while True:
                arrived = await links.next()
                item = self._item(arrived)
                if item is None:
                    await self._acknowledge(arrived)
                else:
                    yield item
        finally:
            await links.close()

    async def send(self, message: Mapping[str, Any], *, key: str) -> Mapping[str, Any] | None:
        """Call a method of the Web API: `method` (else chat.postMessage) and its arguments; or answer an event.

        A message with the `response_url` of an event is posted there, without a token. See `connectors.slack.web.Web`.
        """
        return await self._web.send(message, self._config.bot_token, key=key)

    def _item(self, arrived: Arrived) -> Item | None:
        """Return what to publish, None for what nobody wants."""
        delivery, content = arrived.delivery, arrived.delivery.content
        if delivery.retry_attempt:
            self._site.note("redelivered")
        ack = None if delivery.envelope_id is None else partial(self._acknowledge, arrived)
        within = max(0.0, ACKNOWLEDGE_SECONDS - (self._site.monotonic() - arrived.at))
        if isinstance(content, frames.Puzzle):
            return Unreadable(id=content.id, reason=content.reason, raw=content.raw, ack=ack, ack_within_seconds=within)
        if content.event_type == frames.RATE_LIMITED:
            self._site.note("rate_limited")
            self._site.say("slack_rate_limited", event_id=content.id)
        if self._types is not None and content.event_type not in self._types:
            return None
        return Received(
            id=content.id,
            event_type=content.event_type,
            data=content.data,
            key=content.key,
            created_at=content.created_at,
            ack=ack,
            ack_within_seconds=within,
        )

    async def _acknowledge(self, arrived: Arrived) -> None:
        """Tell Slack; if that fails it repeats the event over another socket, so the failure is only counted."""
        envelope_id = arrived.delivery.envelope_id
        if envelope_id is None:
            return
        try:
            async with asyncio.timeout(ACKNOWLEDGE_SECONDS):
                await arrived.connection.send(frames.acknowledgement(envelope_id))
        except (NotConnected, TimeoutError):
            self._site.note("unacknowledged")

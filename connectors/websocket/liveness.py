"""Whether a link still lives: pings of our own, and silence. Any byte counts, and only while the socket is read.

A library's keepalive and back-pressure kill each other: whoever waits for a pong that stands behind messages which
nobody reads drops a healthy link.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from connectors.base.contract import Connection, NotConnected, Site
from connectors.websocket.inbox import Inbox

LOOKS: Final = 4
"""How often within the longest silence it is looked whether something came."""
SEND_SECONDS: Final = 30.0
"""How long the other side may leave unread what is sent."""


async def watch(connection: Connection, inbox: Inbox, site: Site, *, idle_seconds: float) -> None:
    """Raise NotConnected once no byte came for so long, pongs and parts of messages among them."""
    before = connection.received_bytes
    since = site.monotonic()
    while True:
        await site.sleep(idle_seconds / LOOKS)
        now, received = site.monotonic(), connection.received_bytes
        if received != before or inbox.blocked:
            before, since = received, now
        elif now - since >= idle_seconds:
            raise NotConnected(
                f"nothing came to source {site.instance_id!r} for {idle_seconds:g} s, not even an answer to a ping",
                reason="idle",
            )


async def repeat(ping: Callable[[], Awaitable[None]], site: Site, *, interval_seconds: float) -> None:
    """Ping again and again, until the link is gone: whoever reads hears why, after all that came before."""
    with suppress(NotConnected):
        while True:
            await site.sleep(interval_seconds)
            await ping()


async def tell(connection: Connection, message: str) -> None:
    """Send, if the link still stands: whoever reads hears why it does not, after all that came before."""
    with suppress(NotConnected):
        await connection.send(message)


async def in_time(sending: Awaitable[None], what: str) -> None:
    """Send. Raises NotConnected when the other side takes nothing in."""
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await sending
    except TimeoutError:
        raise NotConnected(f"{what} could not be sent: the other side reads nothing", reason="timeout") from None

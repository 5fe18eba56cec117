"""Tells the other side what the broker has. Called by connectors.base.instance.runner with each batch, once that is
durable."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from connectors.base.contract import Moved, NotConnected
from connectors.base.instance.buffer import Read

ACK_SECONDS: Final = 60.0
"""After which acknowledgements count as lost with their connection: their events come again, under the same ids."""


async def acknowledge(batch: Sequence[Read], *, instance_id: str, late: Callable[[], None]) -> None:
    """Acknowledge a batch. Raises what an acknowledgement raises.

    `late` is called for each whose time is over: the source repeats it by itself.
    """
    acks: list[Awaitable[None]] = []
    now = time.monotonic()
    for read in batch:
        item = read.item
        if isinstance(item, Moved) or item.ack is None:
            continue
        if item.ack_within_seconds is not None and now - read.at > item.ack_within_seconds:
            late()
        else:
            acks.append(item.ack())
    if not acks:
        return
    try:
        async with asyncio.timeout(ACK_SECONDS):
            outcomes = await asyncio.gather(*acks, return_exceptions=True)
    except TimeoutError:
        message = f"acknowledgements to source {instance_id!r} took longer than {ACK_SECONDS:g} s"
        raise NotConnected(message, reason="ack_timeout") from None
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome

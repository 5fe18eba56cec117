"""Silence, pings, and an other side that reads nothing, by a clock of the test."""

import asyncio

import pytest

from connectors.base.contract import NotConnected
from connectors.websocket import liveness
from connectors.websocket.inbox import Inbox, Overflow
from tests.unit.connectors.standing import StandIn, until


class Link:
    """A connection over which nothing comes."""

    received_bytes = 0

    def __init__(self) -> None:
        self.pings = 0
        self.broken = False

    async def receive(self) -> str | bytes:
        raise NotImplementedError

    async def send(self, message: str | bytes) -> None:
        if self.broken:
            raise NotConnected("broken")

    async def ping(self) -> None:
        self.pings += 1
        if self.pings == 3:
            raise NotConnected("broken")

    async def close(self, code: int = 1000) -> None: ...


def an_inbox() -> Inbox:
    return Inbox(Overflow.BLOCK, max_messages=1, max_bytes=100)


async def test_silence_is_noticed_after_the_time_that_is_allowed() -> None:
    site = StandIn()
    with pytest.raises(NotConnected, match="nothing came to source 'src' for 60 s") as silent:
        await liveness.watch(Link(), an_inbox(), site, idle_seconds=60)
    assert silent.value.reason == "idle"
    assert site.monotonic() == 60


async def test_a_single_byte_begins_the_time_anew() -> None:
    site = StandIn()

    class Late(Link):
        @property
        def received_bytes(self) -> int:  # type: ignore[override]
            return 1 if site.monotonic() >= 45 else 0

    with pytest.raises(NotConnected):
        await liveness.watch(Late(), an_inbox(), site, idle_seconds=60)
    assert site.monotonic() == 105


async def test_silence_says_nothing_while_the_reader_waits_for_room() -> None:
    site, inbox = StandIn(), an_inbox()
    await inbox.put("a")
    putting = asyncio.create_task(inbox.put("b"))
    watching = asyncio.create_task(liveness.watch(Link(), inbox, site, idle_seconds=60))
    await until(lambda: site.monotonic() >= 600)
    assert not watching.done()
    freed = site.monotonic()
    await inbox.take()
    await putting
    with pytest.raises(NotConnected):
        await watching
    assert site.monotonic() >= freed + 60


async def test_pings_end_with_the_link_and_leave_it_to_the_reader_to_say_why() -> None:
    site, link = StandIn(), Link()
    await liveness.repeat(link.ping, site, interval_seconds=20)
    assert (link.pings, site.slept) == (3, [20, 20, 20])


async def test_what_cannot_be_told_over_a_broken_link_is_left() -> None:
    link = Link()
    link.broken = True
    await liveness.tell(link, "a")


async def test_an_other_side_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "SEND_SECONDS", 0.0)
    with pytest.raises(NotConnected, match="a ping could not be sent: the other side reads nothing") as stuck:
        await liveness.in_time(asyncio.get_running_loop().create_future(), "a ping")
    assert stuck.value.reason == "timeout"

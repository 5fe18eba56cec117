"""Leases: extended in time, settled in order, lost ones stop their group, the rest is given back."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.base.services.leases import Failed, Lease, Leases
from tests.unit.connectors.standing import StandIn, until
from tests.unit.connectors.timing import Clock


class Lender:
    """Writes down what it is asked; answers as the test says."""

    at_once = 3

    def __init__(self) -> None:
        self.settled: list[list[str]] = []
        self.extended: list[tuple[list[str], int]] = []
        self.fails: dict[str, Failed] = {}
        self.raises: Exception | None = None

    async def settle(self, handles: Sequence[str]) -> Mapping[str, Failed]:
        await asyncio.sleep(0)
        if self.raises is not None:
            raise self.raises
        self.settled.append(list(handles))
        return {handle: self.fails[handle] for handle in handles if handle in self.fails}

    async def extend(self, handles: Sequence[str], seconds: int) -> Mapping[str, Failed]:
        await asyncio.sleep(0)
        if self.raises is not None:
            raise self.raises
        self.extended.append((list(handles), seconds))
        return {handle: self.fails[handle] for handle in handles if handle in self.fails}

    @property
    def all_settled(self) -> list[str]:
        return [handle for handles in self.settled for handle in handles]

    @property
    def given_back(self) -> list[str]:
        return [handle for handles, seconds in self.extended if seconds == 0 for handle in handles]


def taken(leases: Leases, *handles: str, group: str | None = None) -> list[Lease]:
    return [leases.take(handle, since=0.0, group=group) for handle in handles]


async def test_what_is_done_is_settled_in_batches() -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=100) as leases:
        held = taken(leases, "a", "b", "c", "d")
        assert all(map(leases.start, held))
        for lease in held:
            await leases.done(lease)
        await until(lambda: len(lender.all_settled) == 4)

    assert lender.settled == [["a", "b", "c"], ["d"]]
    assert lender.extended == []


async def test_a_message_that_waits_longer_than_half_its_lease_is_extended_again_and_again() -> None:
    lender, clock = Lender(), Clock()
    async with Leases(lender, clock, seconds=60, most=100) as leases:
        taken(leases, "a")
        await clock.pass_time(30)
        await until(lambda: lender.extended == [(["a"], 60)])
        await clock.pass_time(30)
        await until(lambda: lender.extended == [(["a"], 60), (["a"], 60)])


async def test_what_is_not_done_is_given_back_at_the_end_and_what_is_done_is_settled_before() -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=100) as leases:
        held = taken(leases, "a", "b", "c", "d", "e")
        leases.start(held[1])
        await leases.done(held[1])

    assert lender.all_settled == ["b"]
    assert sorted(lender.given_back) == ["a", "c", "d", "e"]


async def test_what_is_done_after_the_end_is_nobodys_any_more() -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=100) as leases:
        (lease,) = taken(leases, "a")
        leases.start(lease)
    await leases.done(lease)

    assert lender.all_settled == []
    assert lender.given_back == ["a"]


async def test_a_group_is_settled_in_its_order_whatever_is_done_first() -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=100) as leases:
        one, two, three = taken(leases, "1", "2", "3", group="g")
        for lease in (one, two, three):
            leases.start(lease)
        await leases.done(two)
        await leases.done(three)
        (other,) = taken(leases, "x", group="h")
        leases.start(other)
        await leases.done(other)
        await until(lambda: lender.all_settled == ["x"])
        await leases.done(one)
        await until(lambda: lender.all_settled == ["x", "1", "2", "3"])


async def test_a_lost_message_that_nobody_has_yet_stops_those_behind_it_in_its_group() -> None:
    lender, clock = Lender(), Clock()
    async with Leases(lender, clock, seconds=60, most=100) as leases:
        first, second, third = taken(leases, "1", "2", "3", group="g")
        (other,) = taken(leases, "x", group="h")
        leases.start(first)
        lender.fails = {"2": Failed.LOST}
        await clock.pass_time(30)
        await until(lambda: lender.given_back == ["3"])

        assert [leases.start(lease) for lease in (second, third, other)] == [False, False, True]
        assert clock.notes["lease_lost"] == 1
        await leases.done(first)
        await until(lambda: lender.all_settled == ["1"])


async def test_a_lost_message_that_was_handed_on_stops_nobody_as_its_order_is_kept() -> None:
    lender, clock = Lender(), Clock()
    async with Leases(lender, clock, seconds=60, most=100) as leases:
        first, second = taken(leases, "1", "2", group="g")
        leases.start(first)
        lender.fails = {"1": Failed.LOST}
        await leases.done(first)
        await until(lambda: clock.notes["lease_lost"] == 1)

        assert leases.start(second)
        await leases.done(second)
        await until(lambda: lender.all_settled == ["1", "2"])


async def test_a_settlement_that_fails_for_now_is_tried_again_after_a_pause() -> None:
    lender, clock = Lender(), Clock()
    async with Leases(lender, clock, seconds=60, most=100) as leases:
        first, second = taken(leases, "a", "b")
        leases.start(first)
        leases.start(second)
        lender.fails = {"a": Failed.AGAIN}
        await leases.done(first)
        await leases.done(second)
        await until(lambda: 1.0 in clock.slept)
        lender.fails = {}
        await clock.pass_time(1)
        await until(lambda: lender.settled == [["a", "b"], ["a"]])


async def one_is_done(lender: Lender, site: StandIn) -> None:
    """Settle one message, and wait for what comes of it."""
    async with Leases(lender, site, seconds=60, most=1) as leases:
        (lease,) = taken(leases, "a")
        leases.start(lease)
        await leases.done(lease)
        await leases.room()


async def test_a_queue_that_stays_away_ends_the_leases_after_some_attempts() -> None:
    lender, site = Lender(), StandIn()
    lender.raises = NotConnected("away")
    with pytest.raises(NotConnected, match="away"):
        await one_is_done(lender, site)

    assert site.slept[-4:] == [1.0, 2.0, 4.0, 8.0]


async def test_a_refusal_ends_the_leases_at_once() -> None:
    lender = Lender()
    lender.raises = Refused("revoked")
    with pytest.raises(Refused, match="revoked"):
        await one_is_done(lender, Clock())


async def test_an_unknown_failure_of_the_keeper_is_not_swallowed() -> None:
    lender = Lender()
    lender.raises = ZeroDivisionError()

    async def unnoticed() -> None:
        async with Leases(lender, Clock(), seconds=60, most=100) as leases:
            (lease,) = taken(leases, "a")
            leases.start(lease)
            await leases.done(lease)
            await asyncio.wait([leases._keeper])

    with pytest.raises(ZeroDivisionError):
        await unnoticed()


@pytest.mark.parametrize(("most", "most_bytes"), [(2, None), (100, 20)])
async def test_there_is_room_again_once_something_is_settled(most: int, most_bytes: int | None) -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=most, most_bytes=most_bytes) as leases:
        held = [leases.take(handle, since=0.0, size_bytes=10) for handle in ("a", "b")]
        room = asyncio.ensure_future(leases.room())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not room.done()
        leases.start(held[0])
        await leases.done(held[0])
        await room

    assert lender.given_back == ["b"]


async def test_a_handle_that_comes_twice_is_one_lease() -> None:
    lender = Lender()
    async with Leases(lender, Clock(), seconds=60, most=1) as leases:
        first, second = taken(leases, "a", "a", group="g")
        assert [leases.start(first), leases.start(second)] == [False, True]
        await leases.done(second)
        await leases.room()

    assert lender.all_settled == ["a"]
    assert lender.given_back == []

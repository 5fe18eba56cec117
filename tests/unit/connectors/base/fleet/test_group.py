"""The lease: how long a member may act on the broker's last word."""

import asyncio

from connectors.base.fleet.group import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_lease_ends_when_the_broker_has_not_answered_in_time() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    held = [lease.held]
    lease.renew(100.0)
    for now in (105.9, 106.1):
        clock.now = now
        held.append(lease.held)

    assert [False, True, False] == held


async def test_time_counts_from_the_question_and_not_from_the_answer() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    clock.now = 110.0
    lease.renew(101.0)

    assert not lease.held


async def test_whoever_waits_goes_on_when_it_is_renewed() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    waiting = asyncio.create_task(lease.wait())
    await asyncio.sleep(0)
    lease.renew(50.0)  # an old answer
    await asyncio.sleep(0)
    assert not waiting.done()
    lease.renew(100.0)

    await asyncio.wait_for(waiting, 5)


async def test_a_held_lease_is_not_confirmed_before_the_broker_speaks_again() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    lease.renew(100.0)
    confirmed = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0)
    assert not confirmed.done()
    lease.renew(101.0)

    await asyncio.wait_for(confirmed, 5)
    lease.drop()
    assert not lease.held

"""How often a host may be asked: by options, by what it says, and by all sources that share its budget."""

import asyncio
import gc
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from multidict import CIMultiDict

from connectors.poll import budget
from tests.unit.connectors.standing import StandIn

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "30"}, 30.0),
        ({"RateLimit-Remaining": "1", "RateLimit-Reset": "30"}, None),
        ({"RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(AT + 90)}, 90.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str((AT + 90) * 1000)}, 90.0),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": "7.5"}, 7.5),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(AT - 90)}, 0.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "9" * 15}, budget.MOST_WAIT_SECONDS),
        ({"X-RateLimit-Remaining": "none", "X-RateLimit-Reset": "soon"}, None),
        ({"RateLimit": "limit=100, remaining=0, reset=50"}, 50.0),
        ({"RateLimit": "limit=100, remaining=9, reset=50"}, None),
        ({"RateLimit": '"default";r=0;t=20'}, 20.0),
        ({"RateLimit": '"a";r=5;t=5, "b";r=0;t=40'}, 40.0),
        ({"RateLimit": '"default";r=10;t=20'}, None),
        (
            {
                "RateLimit-Remaining": "0",
                "RateLimit-Reset": "10",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": "20",
            },
            20.0,
        ),
    ],
)
def test_what_a_server_says_of_its_limits_is_understood(headers: Mapping[str, str], wait: float | None) -> None:
    found = budget.wait_of(CIMultiDict(headers), NOW)

    assert wait == (None if found is None else round(found, 6))


async def test_requests_are_spread_so_that_no_window_has_more_than_allowed() -> None:
    site, mine = StandIn(), budget.Budget()
    begun = []
    for _ in range(10):
        await mine.turn(site, requests=3, per_seconds=60.0)
        begun.append(site.monotonic())

    assert [0, 0, 0, 60, 60, 60, 120, 120, 120, 180] == begun


async def test_without_a_rate_nobody_waits() -> None:
    site, mine = StandIn(), budget.Budget()
    for _ in range(100):
        await mine.turn(site)

    assert [] == site.slept


async def test_a_block_is_for_everybody_and_only_grows() -> None:
    site, mine = StandIn(), budget.Budget()
    mine.block(site, 30.0)
    mine.block(site, 10.0)
    await mine.turn(site)

    assert [30.0] == site.slept


async def test_turns_are_taken_in_the_order_in_which_they_were_asked_for() -> None:
    site, mine = StandIn(), budget.Budget()
    turns: list[int] = []

    async def ask(number: int) -> None:
        await mine.turn(site, requests=1, per_seconds=10.0)
        turns.append(number)

    await asyncio.gather(*(ask(number) for number in range(5)))

    assert [0, 1, 2, 3, 4] == turns
    assert 40.0 == site.monotonic()


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    site, mine = StandIn(real_time=True), budget.Budget()
    mine.block(site, 3600.0)
    waiting = asyncio.create_task(mine.turn(site))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    mine._blocked_until = 0.0

    await asyncio.wait_for(mine.turn(site), 5)


def test_a_budget_is_shared_as_long_as_somebody_holds_it() -> None:
    mine = budget.of("a.example:443", "c")

    assert mine is budget.of("a.example:443", "c")
    assert mine is not budget.of("a.example:443", "d")
    assert mine is not budget.of("b.example:443", "c")
    mine._begun.append(1.0)
    del mine
    gc.collect()
    assert 0 == len(budget.of("a.example:443", "c")._begun)

"""The work of durable runs."""

import json

from benchmarks import events
from benchmarks.sides import work


async def test_three_steps_over_the_event_of_the_harness_give_what_the_harness_expects() -> None:
    run_id, _, value = next(events.durable_events("bench/order", "t-", 5, 1, data={}))
    data = json.loads(value)["data"]
    charged = await work.charge(data["id"], await work.reserve(data), data["price"])
    assert await work.ship(data["id"], charged) == work.shipped(run_id)


def test_timers_are_spread_over_one_second_without_two_at_one_place() -> None:
    dues = [work.due({"id": f"d-{number:014d}", "due": 1_000.0}) for number in range(work.SPREAD)]
    assert len(set(dues)) == work.SPREAD
    assert (min(dues), max(dues)) == (1_000.0, 1_000.9999)


def test_fewer_timers_leave_places_out_and_still_fill_the_second() -> None:
    dues = [work.due({"id": f"d-{number:014d}", "due": 1_000.0, "stride": 10}) for number in range(1_000)]
    assert len(set(dues)) == 1_000
    assert max(dues) == 1_000.999


def test_a_few_timers_are_spread_over_more_seconds() -> None:
    about = {"due": 1_000.0, "stride": work.SPREAD * 20 // 400, "seconds": 20}
    dues = [work.due({"id": f"l-{number:014d}", **about}) for number in range(400)]
    assert dues == sorted(set(dues))
    assert (dues[0], dues[-1]) == (1_000.0, 1_019.95)

"""The budget of identifies."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.discord.budget import Allowance, Starts, closed_for_seconds, turn_in_seconds

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
PLENTY = Allowance()


def closed(starts: Starts, allowance: Allowance = PLENTY, *, shards: int = 1, now: datetime = NOON) -> float:
    return closed_for_seconds(starts, allowance, shards=shards, now=now)


def started(*times: datetime) -> Starts:
    starts = Starts()
    for one in times:
        starts = starts.counted(one)
    return starts


def test_nothing_is_closed_as_long_as_discord_and_our_own_count_have_something_left() -> None:
    assert closed(Starts()) == 0
    assert closed(started(*[NOON] * 999)) == 0
    assert closed(Starts(), Allowance(remaining=1)) == 0


def test_with_nothing_left_it_is_closed_until_discord_counts_anew() -> None:
    assert closed(Starts(), Allowance(remaining=0, reset_after_seconds=14_400)) == 14_400
    assert closed(Starts(), Allowance(remaining=0, reset_after_seconds=0)) == 1


def test_shards_that_ask_at_once_cannot_exceed_what_is_left_together() -> None:
    assert closed(Starts(), Allowance(remaining=3, reset_after_seconds=60), shards=4) == 60
    assert closed(Starts(), Allowance(remaining=4), shards=4) == 0


def test_our_own_count_closes_whatever_discord_says() -> None:
    starts = started(*[NOON - timedelta(hours=3)] * 600, *[NOON - timedelta(hours=1)] * 400)

    assert closed(starts) == timedelta(hours=22).total_seconds()  # the 600 of 9 o'clock count until 10 the next day
    assert closed(starts, now=NOON + timedelta(hours=22)) == 0
    assert closed(starts, Allowance(total=2000)) == 0


def test_hours_that_count_no_more_are_forgotten() -> None:
    starts = started(NOON, NOON + timedelta(hours=24), NOON + timedelta(hours=26))
    assert len(starts.hours) == 2


@given(
    total=st.integers(1, 6),
    pauses=st.lists(st.floats(0, 6 * 3600, allow_nan=False), min_size=1, max_size=80),
    restarts=st.sets(st.integers(0, 80)),
)
def test_no_day_has_more_than_the_total_over_restarts(total: int, pauses: list[float], restarts: set[int]) -> None:
    """Discord's own count is absent here: it says that everything is left."""
    starts, now, sent = Starts(), NOON, []
    for number, pause in enumerate(pauses):
        now += timedelta(seconds=pause)
        if number in restarts:
            starts = Starts.read(starts.as_json())
        if closed(starts, Allowance(total=total), now=now) == 0:
            starts = starts.counted(now)
            sent.append(now)

    day = timedelta(hours=24)
    assert all(sum(one - day < other <= one for other in sent) <= total for one in sent)


@given(st.lists(st.integers(0, 30 * 24), min_size=1, max_size=60), st.integers(1, 5))
def test_what_is_closed_opens_when_it_was_said(hours: list[int], total: int) -> None:
    starts = started(*[NOON + timedelta(hours=hour) for hour in sorted(hours)])
    now = NOON + timedelta(hours=max(hours))
    wait = closed(starts, Allowance(total=total), now=now)

    assert closed(starts, Allowance(total=total), now=now + timedelta(seconds=wait)) == 0


@pytest.mark.parametrize(
    "stored",
    [None, 1, [], {"hours": 1}, {"hours": {"x": 1, "-3": 1, "5": -1, "6": True, "7": "1"}, "last": "now"}],
)
def test_what_is_no_count_counts_nothing(stored: object) -> None:
    assert Starts.read(stored) == Starts()


# ---- turns -----------------------------------------------------------------------------------------------------------


def test_a_single_shard_waits_for_its_own_last_start_alone() -> None:
    def turn(since: float | None) -> float:
        last = None if since is None else NOON.timestamp() - since
        return turn_in_seconds(Starts(last=last), PLENTY, shard=None, now=NOON, chance=0.5)

    assert turn(None) == 0
    assert turn(1.5) == 4.0
    assert turn(100) == 0
    assert turn(-100) == 0, "a clock that was put back keeps nobody waiting"


@given(
    count=st.integers(2, 40),
    concurrency=st.integers(1, 16),
    asked=st.lists(st.tuples(st.integers(0, 39), st.floats(0, 900), st.floats(0, 1, exclude_max=True)), max_size=30),
)
def test_shards_of_the_same_key_begin_at_least_5_s_apart_without_talking_to_each_other(
    count: int, concurrency: int, asked: list[tuple[int, float, float]]
) -> None:
    allowance = replace(PLENTY, max_concurrency=concurrency)
    begun: dict[int, list[tuple[float, int]]] = {}
    for shard, at, chance in {one[0] % count: one for one in asked}.values():
        now = NOON + timedelta(seconds=at)
        wait = turn_in_seconds(Starts(), allowance, shard=(shard % count, count), now=now, chance=chance)
        assert 0 <= wait <= 2 * 8.0 * -(-count // concurrency)
        begun.setdefault(shard % count % concurrency, []).append((at + wait, shard % count))

    for starts in begun.values():
        times = [time for time, _ in sorted(starts)]
        assert all(later - earlier > 5.0 for earlier, later in pairwise(times))


def test_shards_of_different_keys_begin_together() -> None:
    allowance = replace(PLENTY, max_concurrency=16)
    assert {turn_in_seconds(Starts(), allowance, shard=(one, 16), now=NOON, chance=0.5) for one in range(16)} == {0}

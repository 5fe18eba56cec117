"""Which ids are remembered, how long, how many, and at what price."""

import random
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.tables.dedup import DIGEST_BYTES, GENERATIONS, Dedup, DedupPolicy, Generation

HOUR = 3_600_000


def dedup(*, hours: int = 96, most: int = 1_000) -> Dedup:
    return Dedup(DedupPolicy(window_ms=hours * HOUR, max_ids=most))


def digest(number: int) -> bytes:
    return random.Random(number).randbytes(DIGEST_BYTES)


def test_an_id_is_new_once() -> None:
    found = dedup()

    assert [found.seen(digest(n), 0) for n in (1, 2, 1, 2, 3)] == [False, False, True, True, False]
    assert found.count == 3


@given(st.lists(st.binary(min_size=DIGEST_BYTES, max_size=DIGEST_BYTES)))
def test_it_answers_like_a_set_whatever_the_ids(ids: list[bytes]) -> None:
    found, model = dedup(most=10**6), set[bytes]()

    for one in ids:
        assert found.seen(one, 0) == (one in model)
        model.add(one)


def test_two_neighbours_in_a_bucket_make_no_third_id() -> None:
    generation = Generation(0, 0, 1)
    first, second = b"\0\0\0" + b"a" * 9, b"\0\0\0" + b"b" * 9
    between = first[6:] + second[:6]
    generation.add_all(first)
    generation.add_all(second)

    bucket = next(one for one in generation.buckets if one)
    assert between in bucket  # the bytes are there
    tricky = Generation(0, 0, 1)
    tricky.buckets = [bucket] * len(generation.buckets)
    assert not tricky.holds(between)
    assert tricky.holds(second)


def test_an_id_that_stands_across_two_neighbours_and_also_by_itself_is_found() -> None:
    generation = Generation(0, 0, 1)
    one = b"ab" * 6
    generation.buckets = [bytearray(b"xxxxxxxxxxab" + b"abababababxx" + one)] * len(generation.buckets)

    assert generation.holds(one)


# --- the window -----------------------------------------------------------------------------------------------------


def test_an_id_is_remembered_for_the_window_at_least_and_a_quarter_longer_at_most() -> None:
    found = dedup(hours=96)
    found.seen(digest(0), 0)
    forgotten_at = None
    for hour in range(1, 200):
        found.seen(digest(hour), hour * HOUR)
        found.expire(hour * HOUR)
        if forgotten_at is None and not any(one.holds(digest(0)) for one in found.generations):
            forgotten_at = hour

    assert forgotten_at is not None
    assert 96 <= forgotten_at <= 96 + 96 // GENERATIONS
    assert found.removed_early == 0
    assert found.count == sum(one.count for one in found.generations) <= 96 + 2 * 96 // GENERATIONS


def test_generations_are_closed_by_time_and_say_since_when_they_count() -> None:
    found = dedup(hours=4)
    for minute in range(0, 181, 30):
        found.seen(digest(minute), minute * 60_000)

    assert [(one.number, one.opened_ms // 60_000, one.count) for one in found.generations] == [
        (0, 0, 2),
        (1, 60, 2),
        (2, 120, 2),
        (3, 180, 1),
    ]


# --- the bound ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [4, 100, 1_000])
def test_at_the_bound_the_oldest_quarter_is_forgotten_and_counted(most: int) -> None:
    found = dedup(most=most)
    for n in range(most):
        found.seen(digest(n), 0)
        assert found.expire(0) == []
    found.seen(digest(most), 0)

    gone = found.expire(0)

    assert [(one.number, one.count) for one in gone] == [(0, most // 4)]
    assert (found.count, found.removed_early) == (most - most // 4 + 1, most // 4)
    assert [found.seen(digest(n), 0) for n in (most // 4, most)] == [True, True]
    assert not found.seen(digest(0), 0)


def test_no_more_ids_are_kept_than_the_bound_and_a_round() -> None:
    found = dedup(most=100)
    for round_ in range(50):
        for n in range(30):
            found.seen(digest(round_ * 30 + n), round_)
        found.expire(round_)
        assert found.count == sum(one.count for one in found.generations) <= 100


def test_there_is_always_a_generation_left() -> None:
    found = dedup(hours=1, most=4)
    found.seen(digest(1), 0)

    assert found.expire(10_000 * HOUR) == []
    assert found.seen(digest(1), 10_000 * HOUR)


# --- the price ------------------------------------------------------------------------------------------------------


def test_an_id_costs_at_most_24_bytes_in_a_full_generation() -> None:
    policy = DedupPolicy(window_ms=96 * HOUR, max_ids=250_000)  # 8 million over 32 partitions
    generation = Generation(0, 0, policy.generation_ids)
    numbers = random.Random(7)
    for _ in range(policy.generation_ids):
        generation.add_all(numbers.randbytes(DIGEST_BYTES))

    size = sys.getsizeof(generation.buckets) + sum(sys.getsizeof(one) for one in generation.buckets if one is not None)

    assert size / generation.count <= 24


def test_an_empty_table_costs_little() -> None:
    assert sys.getsizeof(Generation(0, 0, 250_000).buckets) <= 256 * 1024


def test_buckets_stay_short() -> None:
    generation = Generation(0, 0, 62_500)
    for n in range(62_500):
        generation.add_all(digest(n))

    assert max(len(one) for one in generation.buckets if one is not None) <= 60 * DIGEST_BYTES


# --- the journal ----------------------------------------------------------------------------------------------------


def test_generations_come_back_in_any_order() -> None:
    found = dedup()
    found.restore(2, 200, digest(3))
    found.restore(1, 100, digest(1), packed=True)
    found.restore(1, 100, digest(2), packed=True)

    assert [(one.number, one.opened_ms, one.count, one.packs) for one in found.generations] == [
        (1, 100, 2, 2),
        (2, 200, 1, 0),
    ]
    assert [found.seen(digest(n), 300) for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert found.count == 4
    assert found.generations[-1].fresh == [digest(4)]

"""How long to wait before the next connection."""

import pytest

from connectors.base.backoff import Backoff, Reconnect, spread


def test_pauses_double_up_to_the_longest_and_are_spread_over_all_of_it() -> None:
    backoff = Backoff(Reconnect(base_seconds=1, max_seconds=10))

    assert [1.0, 2.0, 4.0, 8.0, 10.0, 10.0] == [backoff.next(1.0) for _ in range(6)]
    assert backoff.next(0.0) == 0.0
    assert backoff.next(0.25) == 2.5


def test_a_good_link_makes_the_next_pause_short_again() -> None:
    backoff = Backoff(Reconnect())
    for _ in range(5):
        backoff.next(1.0)
    backoff.good()

    assert backoff.next(1.0) == 1.0


def test_what_the_other_side_asks_for_is_never_undercut() -> None:
    backoff = Backoff(Reconnect(max_seconds=10))

    assert backoff.next(0.0, retry_after_seconds=120.0) == 120.0
    assert 120.0 <= backoff.next(1.0, retry_after_seconds=120.0) <= 121.0


def test_who_asks_for_little_time_again_and_again_is_asked_less_and_less_often_all_the_same() -> None:
    backoff = Backoff(Reconnect(base_seconds=1, max_seconds=10))

    assert [2.0, 2.0, 4.0, 8.0, 10.0] == [backoff.next(1.0, retry_after_seconds=1.0) for _ in range(5)]
    assert backoff.next(0.0, retry_after_seconds=1.0) == 1.0


def test_what_failed_together_is_not_tried_again_together() -> None:
    assert [300.0, 337.5, 375.0] == [spread(300.0, chance) for chance in (0.0, 0.5, 1.0)]


@pytest.mark.parametrize("asked", [1e9, float("inf")])
def test_nobody_asks_for_more_than_a_day(asked: float) -> None:
    assert Backoff(Reconnect()).next(0.0, retry_after_seconds=asked) == 86_400


def test_a_connection_that_was_asked_for_comes_at_once_but_never_twice_in_a_row() -> None:
    backoff = Backoff(Reconnect())

    assert backoff.next(0.9, at_once=True) == 0.0
    assert backoff.next(0.9, at_once=True) > 0.0


def test_a_thousand_attempts_overflow_nothing() -> None:
    backoff = Backoff(Reconnect())

    assert max(backoff.next(1.0) for _ in range(2_000)) == 60.0


@pytest.mark.parametrize(("allowed", "after"), [(None, False), (2, True), (3, False)])
def test_attempts_may_be_bounded(allowed: int | None, after: bool) -> None:
    backoff = Backoff(Reconnect(max_attempts=allowed))
    backoff.next(0.5)
    backoff.next(0.5)

    assert backoff.exhausted is after

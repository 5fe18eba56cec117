"""How much may be used, by what else there is."""

import pytest

from app.runtime.limits import StepLimits, suspended_beside, suspended_long

MILLION = 1_000_000


@pytest.mark.parametrize(
    ("suspended", "resting", "kept"),
    [
        (10_000, 0, 10_000),
        (10_000, MILLION * (140 + 35), 10_000),  # runs that sleep, with their timers
        (10_000, MILLION * 140 + MILLION // 2 * 100, 9_200),
        (10_000, MILLION * (140 + 100), 2_534),  # runs that wait for events
        (10_000, 10 * MILLION * 240, 2_000),
        (500, 10 * MILLION * 240, 500),  # who wants few has as many
        (50_000, MILLION * (140 + 100), 42_534),  # and who wants many says that there is memory
    ],
)
def test_the_more_rests_in_memory_the_fewer_functions_are_kept(suspended: int, resting: int, kept: int) -> None:
    assert suspended_beside(StepLimits(partitions=8, suspended=suspended), resting) == kept


@pytest.mark.parametrize(("suspended", "kept"), [(10_000, 2_000), (2_000, 2_000), (1, 1), (50_000, 10_000)])
def test_of_functions_that_wait_for_long_a_fifth_is_kept_or_2000(suspended: int, kept: int) -> None:
    assert suspended_long(StepLimits(partitions=8, suspended=suspended)) == kept

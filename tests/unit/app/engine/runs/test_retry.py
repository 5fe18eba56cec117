from hypothesis import given
from hypothesis import strategies as st

from app.engine.runs.retry import delay_ms, may_retry


@given(st.text(max_size=40), st.integers(1, 2_000), st.integers(1, 100_000), st.integers(0, 10**7))
def test_a_delay_lies_between_a_tenth_of_the_base_and_the_doubled_ceiling_and_never_above_the_most(
    run: str, attempt: int, base: int, most: int
) -> None:
    delay = delay_ms(run, attempt, base_ms=base, max_ms=most)

    assert min(most, base // 10) <= delay <= min(most, max(base // 10, base * 2 ** min(attempt - 1, 40)))
    assert delay == delay_ms(run, attempt, base_ms=base, max_ms=most)


def test_delays_of_many_runs_are_spread_over_the_whole_of_it() -> None:
    delays = [delay_ms(f"charge:{n}", 4, base_ms=1_000, max_ms=60_000) for n in range(2_000)]

    assert [sum(low <= one < low + 2_000 for one in delays) > 350 for low in (0, 2_000, 4_000, 6_000)] == [True] * 4
    assert max(delays) < 8_000


def test_these_delays_never_change() -> None:
    delays = [delay_ms("charge:" + "0" * 24, n, base_ms=1_000, max_ms=60_000) for n in (1, 2, 3, 10)]

    assert delays == [372, 1548, 2768, 1617]


def test_there_is_another_attempt_while_retries_are_left() -> None:
    assert [may_retry(attempt, max_retries=2) for attempt in (1, 2, 3, 4)] == [True, True, False, False]
    assert may_retry(1, max_retries=0) is False

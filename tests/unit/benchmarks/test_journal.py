"""The cost of the n-th step."""

from typing import Any

from benchmarks import journal
from benchmarks.sides.diary import Line


def _run(run_id: str, gap_ns: Any) -> list[Line]:
    lines, at = [], 0
    for number in range(1, 1_001):
        at += gap_ns(number)
        lines.append(Line(run_id, number, at))
    return lines


def test_costs_are_medians_by_hundreds_over_all_runs() -> None:
    lines = _run("a", lambda _: 2_000) + _run("b", lambda number: 2_000 if number <= 900 else 4_000)
    figures = journal.costs(lines)
    assert figures["us_per_step_by_hundred"] == [2.0] * 9 + [3.0]
    assert (figures["last_to_first"], figures["repeated"]) == (1.5, 0)


def test_a_step_that_ran_twice_is_told_and_counts_from_its_first_time() -> None:
    lines = _run("a", lambda _: 2_000)
    figures = journal.costs([*lines, Line("a", 7, 10**9)])
    assert (figures["us_per_step_by_hundred"], figures["repeated"]) == ([2.0] * 10, 1)

"""The driver of durable runs: when runs start, when it is over, and what a right answer is."""

import pytest

from benchmarks import drive
from benchmarks.sides import work

SECOND = drive.SECOND
RUN = "t-00000000000001"


def _schedule(*argv: str) -> drive.Schedule:
    return drive.Schedule(drive.arguments([*argv, "--run", "t-"]), begin_ns=SECOND)


def test_an_open_loop_keeps_its_times_however_many_runs_are_late() -> None:
    schedule = _schedule("open", "--rate", "2", "--seconds", "1")
    assert schedule.next_due(SECOND, in_flight=0) == SECOND
    schedule.started(SECOND, 9 * SECOND)
    assert schedule.next_due(9 * SECOND, in_flight=1_000) == SECOND + SECOND // 2
    schedule.started(SECOND + SECOND // 2, 9 * SECOND)
    assert schedule.next_due(9 * SECOND, in_flight=1_000) is None
    assert schedule.worst_lateness_ns == 8 * SECOND


def test_a_closed_loop_starts_a_run_for_each_that_ended_until_its_time_is_over() -> None:
    schedule = _schedule("closed", "--in-flight", "2", "--seconds", "1")
    assert schedule.next_due(SECOND, in_flight=1) == SECOND
    assert schedule.next_due(SECOND, in_flight=2) is None
    assert schedule.next_due(3 * SECOND, in_flight=0) is None


def test_a_count_ends_when_all_have_answered_whatever_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = _schedule("closed", "--count", "1", "--seconds", "1")
    assert not schedule.over(5 * SECOND, in_flight=0)
    schedule.started(SECOND, SECOND)
    assert not schedule.over(5 * SECOND, in_flight=1)
    assert schedule.over(5 * SECOND, in_flight=0)
    assert capsys.readouterr().out.count('"window"') == 2


def test_patience_ends(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = _schedule("open", "--seconds", "1", "--patience-seconds", "3")
    assert not schedule.over(4 * SECOND, in_flight=1)
    assert schedule.over(5 * SECOND, in_flight=1)
    assert '"ended"' in capsys.readouterr().out


def test_the_ends_of_a_window_are_told_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = _schedule("closed", "--warm-up-seconds", "1", "--seconds", "1")
    for now in (1, 2, 2, 3, 3):
        schedule.over(now * SECOND, in_flight=1)
    schedule.close()
    assert capsys.readouterr().out.splitlines() == [
        f'{{"window": "began", "at_ns": {2 * SECOND}}}',
        f'{{"window": "ended", "at_ns": {3 * SECOND}}}',
    ]


@pytest.mark.parametrize(
    ("kind", "answer", "wrong"),
    [
        ("order", work.shipped(RUN), False),
        ("order", work.shipped("t-00000000000002"), True),
        ("steps=3", {"id": RUN, "total": 6}, False),
        ("steps=3", {"id": RUN, "total": 3}, True),
        ("any", None, False),
        ("order", None, True),
    ],
)
def test_a_right_answer_is_that_of_its_own_run(kind: str, answer: object, wrong: bool) -> None:
    assert bool(drive.fault(kind, RUN, answer)) is wrong
    assert bool(drive.result(kind, RUN, {"status": "completed", "result": answer})) is wrong


def test_a_run_that_failed_is_no_right_answer() -> None:
    assert "failed" in drive.result("any", RUN, {"status": "failed", "error": "StepError"})

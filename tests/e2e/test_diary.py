"""The diary tells what may happen from what must not."""

from pathlib import Path

import pytest

from tests.e2e import diary

BEGAN = ["began\t1\t\t", "began\t2\t\t"]
ENDED = {("r", "pay"): 100}


def ran(process: int, at_ms: int) -> str:
    return f"ran\t{process}\tr\tpay\t1\t{at_ms}"


@pytest.mark.parametrize(
    ("lines", "before", "after", "lost"),
    [
        ([ran(1, 90)], 0, 0, 0),
        ([ran(1, 90), ran(2, 100)], 1, 0, 0),
        ([ran(1, 90), ran(2, 101)], 0, 1, 0),
        ([ran(1, 90), ran(1, 101)], 0, 1, 0),
        (["lost\t1\t\t", ran(2, 90), ran(1, 101)], 0, 0, 1),
        ([ran(2, 90), ran(1, 101), "lost\t1\t\t"], 0, 0, 1),
        (["lost\t1\t\t", "began\t1\t\t", ran(2, 90), ran(1, 101)], 0, 1, 0),
    ],
    ids=[
        "once",
        "cut off",
        "by another",
        "by the same",
        "by one that was frozen",
        "by one that says so later",
        "by the next of its number",
    ],
)
def test_a_step_that_runs_after_its_end_was_journaled_is_noticed(
    lines: list[str], before: int, after: int, lost: int, tmp_path: Path
) -> None:
    file = tmp_path / "diary.tsv"
    file.write_text("\n".join([*BEGAN, *lines]) + "\n")
    account = diary.read(file, ENDED)

    assert (account.again_before, len(account.again_after), account.again_by_lost) == (before, after, lost)
    assert account.executions == sum(line.startswith("ran") for line in lines)
    assert account.right == (after == 0)


def test_what_came_to_something_else_on_replay_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "diary.tsv"
    lines = ["got\t1\tr\tpay\t7", "met\t1\tr\tletter\te1", "got\t2\tr\tpay\t7", "met\t2\tr\tletter\te2"]
    file.write_text("\n".join([*BEGAN, *lines]) + "\n")
    account = diary.read(file, {})

    assert (account.steps, account.waits) == (1, 1)
    assert account.changed == {("r", "letter")}
    assert not account.right

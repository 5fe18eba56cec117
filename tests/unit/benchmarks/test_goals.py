"""Goals beside figures."""

import json
from pathlib import Path

from benchmarks import __main__ as main
from benchmarks import goals


def test_each_goal_is_told_with_its_figure_and_whether_it_is_reached(tmp_path: Path) -> None:
    summary = {"headgate/1000": {"p50_ms": 4.0, "p99_ms": 20.5}}
    how = {"machine": {"commit": "abc"}, "runs": [{"round": 1}, {"round": 5}]}
    (tmp_path / "latency.json").write_text(json.dumps({"summary": summary, **how}))
    summary = {"single": {"events_per_second": 7_999.4}, "lists of 100": {"events_per_second": 96_563}}
    (tmp_path / "gateway.json").write_text(json.dumps({"summary": summary, "machine": {"commit": "def"}}))
    rows = list(goals.rows(tmp_path))
    assert [row for row in rows if row[2]] == [
        ("1,000 events/s, p50", "at most 4 ms", "4 ms", "yes", "5, abc"),
        ("1,000 events/s, p99", "at most 20 ms", "20.5 ms", "no", "5, abc"),
        ("single events acknowledged", "at least 8,000/s", "7,999.4/s", "no", "1, def"),
        ("events in lists of 100", "at least 60,000/s", "96,563/s", "yes", "1, def"),
    ]
    assert {row[3] for row in rows if not row[2]} == {"not measured yet"}
    assert len(rows) == len(goals.GOALS)


def test_goals_are_those_of_modes_that_there_are() -> None:
    assert {goal.mode for goal in goals.GOALS} <= set(main.MODES)

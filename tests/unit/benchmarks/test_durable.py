"""Three-step runs: rates, accounts and medians."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from benchmarks import durable, durable_sides, rounds
from benchmarks.sides import diary

DBOS = durable_sides.SIDES["dbos"]


def _run(side: str, number: int, per_second: float, *, form: str = "throughput") -> dict[str, Any]:
    processes = {
        "worker": {"cpu_seconds": 2.0, "peak_rss_mb": 120.0, "memory_mb": 100.0},
        "store": {"cpu_seconds": 1.0, "peak_rss_mb": 700.0, "memory_mb": 300.0},
        "driver": {"cpu_seconds": 9.0, "peak_rss_mb": 50.0},
    }
    counts = dict.fromkeys(("lost", "doubled", "wrong", "steps_repeated"), 0)
    times = {"p50_ms": 2.0, "p99_ms": 9.0, "max_ms": 10.0}
    run = {"side": side, "round": number, "form": form, "per_second": per_second, "processes": processes}
    return {**run, **counts, **times, "answered_in_window": 1_000}


def test_ratios_are_taken_within_a_round_and_the_driver_is_not_charged_to_the_side() -> None:
    runs = [_run("headgate", 1, 100), _run("dbos", 1, 50), _run("headgate", 2, 300), _run("dbos", 2, 60)]
    runs += [_run("headgate", 3, 120), _run("dbos", 3, 40)]
    one = durable.summary(runs)["dbos/throughput"]
    assert (one["per_second"], one["headgate_ratio"]) == (50, 3.0)
    assert (one["cpu_ms_per_run"], one["memory_mb"]) == (3.0, 400.0)
    assert one["processes"]["store"] == {"cpu_ms_per_run": 1.0, "peak_rss_mb": 700.0, "memory_mb": 300.0}


@pytest.mark.parametrize(
    ("form", "per_second", "rate"),
    [("throughput", 100.0, 400), ("latency", 100.0, 400), ("half", 100.0, 50), ("half", 900.0, None)],
)
def test_a_slow_side_is_asked_once_more_for_half_of_what_it_can_do(
    form: str, per_second: float, rate: int | None
) -> None:
    assert durable.rate_of(form, DBOS, [_run("headgate", 1, 9_000), _run("dbos", 1, per_second)]) == rate


def test_half_of_nothing_is_not_asked_for() -> None:
    assert durable.rate_of("half", DBOS, [_run("headgate", 1, 100)]) is None


def test_the_diary_tells_steps_that_ran_twice_and_runs_that_lack_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(diary.VARIABLE, str(tmp_path / "diary"))
    pen, reader = diary.Pen(), diary.Reader(tmp_path / "diary")
    for run_id, mark in (("t-1", 1), ("t-1", 2), ("t-1", 3), ("t-2", 1), ("t-2", 1), ("t-2", 2)):
        pen.note(run_id, mark)
    assert durable.account(reader, 2, 3) == {"steps": 5, "steps_repeated": 1, "runs_without_a_step": 1}
    reader.close()


def test_a_side_without_fsync_says_that_it_has_none() -> None:
    flushes = {name: side.durability for name, side in durable_sides.SIDES.items()}
    assert all("fsync" in flushes[name] for name in ("restate", "dbos"))
    assert all("by the operating system" in flushes[name] for name in ("headgate", "restate-os", "dbos-os"))


def test_a_java_process_is_warm_once_it_compiles_little(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = iter([0.0, 5.0, 5.0, 9.0, 9.0, 9.001])
    monkeypatch.setattr("benchmarks.processes.compiler_seconds", lambda _pid: next(spent))
    clock = itertools.count()
    monkeypatch.setattr("benchmarks.rounds.time.monotonic", lambda: float(next(clock)))
    done: list[int] = []
    rounds.until_compiled(1, lambda: done.append(1), limit_seconds=1_000)
    assert len(done) == 3

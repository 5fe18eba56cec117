"""The step journal: what the n-th step of a run costs, for runs of 1,000 steps, one run at a time."""

import collections
import itertools
from typing import Any

from benchmarks import durable, plan, processes, rounds
from benchmarks.running import Kind, Running
from benchmarks.sides import diary

STEPS = 1_000
HUNDRED = 100


def run(given: plan.Plan) -> dict[str, Any]:
    """Let each side do long runs."""
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.long_rounds + 1):
        for side in durable.turn(given, number):
            figures = durable.attempt(side, given, f"journal{number}", _measure, failures)
            if figures is not None:
                runs.append({"round": number, **figures})
                hundreds = figures["us_per_step_by_hundred"]
                rounds.say(
                    f"  round {number} {side.name:<11} first hundred {hundreds[0]:>8,.0f} us a step"
                    f"  last {hundreds[-1]:>8,.0f}  x{figures['last_to_first']:.2f}  repeated {figures['repeated']}"
                )
    return {"steps": STEPS, **durable.sides(given), "runs": runs, "failures": failures, "summary": _summary(runs)}


def _measure(running: Running, given: plan.Plan) -> dict[str, Any]:
    count = 2 if given.quick else 20
    data = ["--data", f'{{"steps": {STEPS}}}', "--check", f"steps={STEPS}"]
    options = [*data, "--in-flight", "1", "--patience-seconds", "600"]
    warm = running.drive("closed", "w-", Kind.JOURNAL, *options, "--count", "1")
    _finish(warm, running)
    reader = diary.Reader(running.diary)
    collections.deque(reader.new(), maxlen=0)
    driver = running.drive("closed", "t-", Kind.JOURNAL, *options, "--count", str(count))
    figures = _finish(driver, running)
    if figures["wrong"] or figures["lost"]:
        raise processes.SideDied(f"{running.side.name}: {figures}")
    return {"answered": figures["answered"], **costs(list(reader.new()))}


def _finish(driver: processes.Child, running: Running) -> dict[str, Any]:
    try:
        while "asked" not in (line := durable.answer(driver, running, timeout_seconds=900)):
            pass
    finally:
        driver.kill()
    return line


def costs(lines: list[diary.Line]) -> dict[str, Any]:
    """Return the microseconds from one step to the next by hundreds of steps: the median over all runs."""
    times: dict[str, dict[int, int]] = {}
    repeated = 0
    for line in lines:
        steps = times.setdefault(line.run_id, {})
        repeated += line.mark in steps
        steps.setdefault(line.mark, line.at_ns)
    by_hundred: dict[int, list[float]] = {}
    for steps in times.values():
        for (number, before), (_, after) in itertools.pairwise(sorted(steps.items())):
            by_hundred.setdefault((number - 1) // HUNDRED, []).append((after - before) / 1e3)
    hundreds = [round(rounds.median(values), 1) for _, values in sorted(by_hundred.items())]
    return {
        "us_per_step_by_hundred": hundreds,
        "last_to_first": round(hundreds[-1] / hundreds[0], 3) if hundreds else None,
        "repeated": repeated,
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for side in dict.fromkeys(one["side"] for one in runs):
        mine = [one for one in runs if one["side"] == side]
        columns = zip(*(one["us_per_step_by_hundred"] for one in mine), strict=False)
        hundreds = [round(rounds.median(column), 1) for column in columns]
        table[side] = {
            "us_per_step_by_hundred": hundreds,
            "last_to_first": round(hundreds[-1] / hundreds[0], 3),
            "repeated": sum(one["repeated"] for one in mine),
        }
    return table

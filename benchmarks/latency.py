"""From an event's intended send time to its result at an independent consumer, at fixed rates (open loop).

The producer does not wait for anything, and event n counts from `start + n / rate`, so a stall shows in every event
that had to wait for it (no coordinated omission). `none` is the harness alone: the consumer reads the events.
"""

import time
from typing import Any

from benchmarks import catalog, plan, processes, rounds

RATES = (100, 1_000, 5_000, 10_000)
QUICK_RATES = (1_000,)
# Peers are asked for no more than about half of what they can do: beyond it only their queue would be measured.
HIGHEST = {"faust": 1_000, "faststream": 1_000, "faststream-batch": 1_000}
WARM_UP_SECONDS = 2.0
LEAD_NANOSECONDS = 1_500_000_000


def run(given: plan.Plan) -> dict[str, Any]:
    """Measure the harness alone, then each side, at each rate."""
    runs: list[dict[str, Any]] = []
    rates = QUICK_RATES if given.quick else RATES
    for number in range(1, given.rounds + 1):
        for side in (None, *given.sides):
            allowed = [rate for rate in rates if side is None or rate <= HIGHEST.get(side.name, rates[-1])]
            for figures in _side(given, side, allowed, number):
                runs.append({"round": number, **figures})
                rounds.say(
                    f"  round {number} {figures['side']:<11} {figures['rate']:>6}/s"
                    f"  p50 {figures.get('p50_ms', 0):>8.2f}  p99 {figures.get('p99_ms', 0):>8.2f}"
                    f"  p99.9 {figures.get('p999_ms', 0):>8.2f}  max {figures.get('max_ms', 0):>8.2f} ms"
                    f"  lost {figures['lost']}"
                )
    return {"runs": runs, "summary": _summary(runs)}


def measure(
    stage: catalog.Stage, run: str, rate: float, seconds: float, *, raw: bool = False, gaps: bool = False
) -> dict[str, Any]:
    """Send at `rate` for `seconds` and return the distribution over all but the first seconds."""
    watch, pace, _ = start(stage, run, rate, seconds, raw=raw, gaps=gaps)
    return finish(watch, pace, seconds)


def start(
    stage: catalog.Stage, run: str, rate: float, seconds: float, *, raw: bool = False, gaps: bool = False
) -> tuple[processes.Child, processes.Child, int]:
    """Start watcher and producer; return both and the intended time of the first event."""
    count = int(rate * seconds)
    start_ns = time.monotonic_ns() + LEAD_NANOSECONDS
    skip = 0.0 if gaps else min(WARM_UP_SECONDS, seconds / 3)
    command = processes.python("benchmarks.watch", "latency", "--bootstrap", stage.broker.bootstrap)
    command += ["--topic", stage.input if raw else stage.results, "--run", run, "--expected", str(count)]
    command += ["--rate", str(rate), "--start-ns", str(start_ns), "--skip-seconds", str(skip)]
    command += ["--raw"] * raw + ["--gaps"] * gaps
    watch = processes.Child("latency", command, cwd=stage.folder, talks=True)
    pace = rounds.pace(stage, run, rate=rate, count=count, start_ns=start_ns)
    watch.answer(timeout_seconds=30)
    return watch, pace, start_ns


def finish(watch: processes.Child, pace: processes.Child, seconds: float) -> dict[str, Any]:
    """Wait for the producer's end and for the last results, at most 30 s longer."""
    sent = pace.answer(timeout_seconds=seconds + 150)
    figures = watch.line(timeout_seconds=30)
    if figures is None:
        watch.process.terminate()
        figures = watch.answer(timeout_seconds=30)
    watch.process.wait()
    return {**figures, "producer_worst_lateness_ms": round(sent["worst_lateness_ms"], 3)}


def _side(given: plan.Plan, side: catalog.Side | None, rates: list[int], number: int) -> list[dict[str, Any]]:
    seconds = 3.0 if given.quick else 22.0
    stage = given.stage(side or catalog.NONE, f"latency{number}")
    stage.prepare()
    if side is None:
        alone = [
            {"side": "none", "rate": rate, **measure(stage, f"n{rate}-", rate, seconds, raw=True)} for rate in rates
        ]
        stage.clear()
        return alone
    workers = [stage.start(worker + 1, profile="latency") for worker in range(given.workers(side))]
    counter = rounds.Counter(stage)
    figures: list[dict[str, Any]] = []
    try:
        rounds.warm_up(stage, counter, workers, partitions=stage.partitions)
        counter.child.kill()
        for rate in rates:
            before = rounds.snapshot(rounds.pids(stage, workers))
            measured = measure(stage, f"t{rate}-", rate, seconds)
            spent = rounds.used(before, rounds.snapshot(rounds.pids(stage, workers)))
            figures.append({"side": side.name, "rate": rate, **measured, "processes": spent})
    finally:
        for child in (*workers, counter.child):
            child.kill()
    stage.clear()
    return figures


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for side, rate in dict.fromkeys((one["side"], one["rate"]) for one in runs):
        mine = [one for one in runs if (one["side"], one["rate"]) == (side, rate) and "p50_ms" in one]
        if mine:
            names = ("p50_ms", "p99_ms", "p999_ms", "max_ms")
            table[f"{side}/{rate}"] = {name: round(rounds.median(one[name] for one in mine), 3) for name in names}
            table[f"{side}/{rate}"]["lost"] = sum(one["lost"] for one in mine)
    return table

"""Time without results after kill -9, with an hour at 1,000 events/s in the journal: same instance, and takeover.

The same instance is measured from the journal alone, the default of `worker.data`, and with snapshots in a folder that
outlives it, the default of the chart: an emptyDir outlives a container, a volume of the pod's own the pod as well.
"""

import time
from typing import Any

from benchmarks import catalog, latency, plan, processes, rounds

HOUR = 3_600_000
QUICK = 50_000
RATE = 1_000
SIZE_BYTES = 160
CASES = ("restart", "snapshots", "takeover")


def run(given: plan.Plan) -> dict[str, Any]:
    """Fill the journal once, then kill a worker under load in each round, twice: restarted, and taken over."""
    runs: list[dict[str, Any]] = []
    side = catalog.SIDES["headgate"]
    held = QUICK if given.quick else HOUR
    stage = given.stage(side, "restart")
    stage.prepare()
    _fill(stage, held)
    try:
        for number in range(1, given.rounds + 1):
            for case in CASES:
                figures = {"round": number, "case": case, **_kill(stage, f"{case[0]}{number}-", case, given)}
                runs.append(figures)
                rounds.say(
                    f"  round {number} {case:<9} {figures['without_results_seconds']:>6.2f} s without results"
                    f"  lost {figures['lost']}  doubled {figures['doubled']}"
                )
    finally:
        stage.clear()
    table = {}
    for case in CASES:
        mine = [one for one in runs if one["case"] == case]
        seconds = [one["without_results_seconds"] for one in mine]
        table[case] = {
            "without_results_seconds": round(rounds.median(seconds), 2),
            "worst_seconds": max(seconds),
            "lost": sum(one["lost"] for one in mine),
            "doubled": sum(one["doubled"] for one in mine),
        }
    return {"journaled_events": held, "rate": RATE, "runs": runs, "summary": table}


def _fill(stage: catalog.Stage, count: int) -> None:
    """Let a worker journal `count` events."""
    counter = rounds.Counter(stage)
    worker = stage.start(snapshots=True)
    try:
        producer = rounds.load(stage, "f-", count, size_bytes=SIZE_BYTES)
        if not counter.wait_for(count, stall_seconds=60, alive=[worker]):
            raise processes.SideDied(f"{counter.count} of {count} results; the log says:\n{worker.tail()}")
        producer.answer(timeout_seconds=60)
    finally:
        worker.terminate()
        counter.child.kill()


def _kill(stage: catalog.Stage, run: str, case: str, given: plan.Plan) -> dict[str, Any]:
    """Kill worker 1 in the middle of an open-loop load; return the longest gap in any partition's results."""
    seconds = 20.0 if given.quick else 40.0
    kill_after = 5.0
    snapshots = case == "snapshots"
    workers = {
        number: _ready(stage, number, snapshots=snapshots) for number in ((1, 2) if case == "takeover" else (1,))
    }
    try:
        watch, pace, start_ns = latency.start(stage, run, RATE, seconds, gaps=True)
        time.sleep(max(0.0, start_ns / 1e9 + kill_after - time.monotonic()))
        workers[1].kill()
        killed = time.monotonic()
        if case != "takeover":
            workers[1] = stage.start(1, snapshots=snapshots)
        figures = latency.finish(watch, pace, seconds)
    finally:
        for worker in workers.values():
            worker.terminate()
    at = killed - start_ns / 1e9
    after_kill = [length for begin, length in figures["gaps"].values() if begin + length > at]
    return {**figures, "killed_at_seconds": round(at, 3), "without_results_seconds": max(after_kill, default=0.0)}


def _ready(stage: catalog.Stage, number: int, *, snapshots: bool) -> processes.Child:
    port = catalog.free_port()
    worker = stage.start(number, metrics_port=port, snapshots=snapshots)
    catalog.wait_until_ready(worker, port)
    return worker

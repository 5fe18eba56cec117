"""A worker without work: how soon it is ready after its start, its memory, its share of a CPU."""

import time
from typing import Any

from benchmarks import catalog, plan, processes, rounds


def run(given: plan.Plan) -> dict[str, Any]:
    """Start a worker on fresh topics, once more on the topics that it has claimed before, and watch it idle."""
    runs: list[dict[str, Any]] = []
    seconds = 3.0 if given.quick else 20.0
    for number in range(1, given.rounds + 1):
        stage = given.stage(catalog.SIDES["headgate"], f"idle{number}")
        stage.prepare()
        for start in ("first", "again"):
            port = catalog.free_port()
            began = time.monotonic()
            worker = stage.start(metrics_port=port)
            try:
                catalog.wait_until_ready(worker, port)
                ready = time.monotonic() - began
                time.sleep(1.0)
                before, at = processes.usage(worker.pid), time.monotonic()
                time.sleep(seconds)
                after, took = processes.usage(worker.pid), time.monotonic() - at
                figures = {
                    "round": number,
                    "start": start,
                    "ready_seconds": round(ready, 3),
                    "rss_mb": round(processes.rss(worker.pid) / 1e6, 1),
                    "peak_rss_mb": round(after.peak_rss_bytes / 1e6, 1),
                    "cpu_percent": round((after.cpu_seconds - before.cpu_seconds) / took * 100, 2),
                }
            finally:
                worker.terminate()
            runs.append(figures)
            rounds.say(
                f"  round {number} {start:<6} ready in {figures['ready_seconds']} s, "
                f"{figures['rss_mb']} MB, {figures['cpu_percent']} % CPU"
            )
        stage.clear()
    table = {}
    for start in ("first", "again"):
        mine = [one for one in runs if one["start"] == start]
        names = ("ready_seconds", "rss_mb", "peak_rss_mb", "cpu_percent")
        table[start] = {name: round(rounds.median(one[name] for one in mine), 3) for name in names}
    return {"watched_seconds": seconds, "runs": runs, "summary": table}

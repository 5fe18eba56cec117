"""Headgate's backlog drained by 1, 2 and 4 worker processes over the same partitions."""

from dataclasses import replace
from typing import Any

from benchmarks import catalog, plan, rounds, throughput

WORKERS = (1, 2, 4)


def run(given: plan.Plan) -> dict[str, Any]:
    """Interleave the worker counts."""
    runs: list[dict[str, Any]] = []
    side = catalog.SIDES["headgate"]
    for number in range(1, given.rounds + 1):
        for workers in WORKERS:
            asked = replace(given, workers_by_side={side.name: workers})
            figures = throughput.backlog(given.stage(side, f"scaling{workers}x{number}"), asked)
            runs.append({"round": number, **figures})
            rounds.say(f"  round {number} {workers} workers {figures['per_second']:>9,} events/s")
    table = {}
    for workers in WORKERS:
        mine = [one for one in runs if one["workers"] == workers]
        names = ("per_second", "first_to_last_per_second", "cpu_us_per_event", "peak_rss_mb")
        table[str(workers)] = {name: round(rounds.median(one[name] for one in mine), 2) for name in names}
        table[str(workers)] |= {name: sum(one[name] for one in mine) for name in ("lost", "doubled")}
    return {"runs": runs, "summary": table}

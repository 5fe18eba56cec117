"""Request and response at 500/s: a run called over HTTP, and one started by a record that names a reply topic.

Restate and DBOS answer the same three-step run over HTTP, which is all that they have.
"""

from typing import Any

from benchmarks import durable, plan, rounds
from benchmarks.running import Kind, Running

RATE = 500


def run(given: plan.Plan) -> dict[str, Any]:
    """Measure each side, and Headgate both ways."""
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.rounds + 1):
        for side in durable.turn(given, number):
            for over in ("http", "reply_topic") if side.name == "headgate" else ("http",):

                def measure(running: Running, asked: plan.Plan, over: str = over) -> dict[str, Any]:
                    options = [*durable.lasting(asked), "--rate", str(RATE)]
                    return durable.measured(running, "open", Kind.ORDER, *options, over=over)

                figures = durable.attempt(side, given, f"{over}{number}", measure, failures)
                if figures is not None:
                    runs.append({"round": number, "over": over, **figures})
                    rounds.say(
                        f"  round {number} {side.name:<11} {over:<11}  p50 {figures.get('p50_ms', 0):>8.2f}"
                        f"  p99 {figures.get('p99_ms', 0):>8.2f} ms  lost {figures['lost']}  wrong {figures['wrong']}"
                    )
    return {"rate": RATE, **durable.sides(given), "runs": runs, "failures": failures, "summary": summary(runs)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians by side and way."""
    table: dict[str, Any] = {}
    for side, over in dict.fromkeys((one["side"], one["over"]) for one in runs):
        mine = [one for one in runs if (one["side"], one["over"]) == (side, over) and "p50_ms" in one]
        if mine:
            names = ("per_second", "p50_ms", "p99_ms", "max_ms")
            table[f"{side}/{over}"] = {name: round(rounds.median(one[name] for one in mine), 3) for name in names}
            table[f"{side}/{over}"] |= {name: sum(one[name] for one in mine) for name in ("lost", "wrong")}
    return table

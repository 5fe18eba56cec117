"""Events to results per second, in two forms: a backlog drained, and live load with the producer at full speed."""

import os
from dataclasses import replace
from typing import Any

from benchmarks import catalog, plan, processes, rounds

# The first results of a side come with its caches cold, and a transactional side shows thousands at once: the rate
# counts from this long after the first result, from the number seen by then.
SETTLE_SECONDS = 0.25
STALL_SECONDS = 30.0


def run(given: plan.Plan) -> dict[str, Any]:
    """Run all sides, interleaved, `given.rounds` times; return the raw figures.

    Headgate has as many workers as the machine has use for, if nothing else is asked for.
    """
    useful = min(os.cpu_count() or 1, catalog.PARTITIONS)
    given = replace(given, workers_by_side={"headgate": useful} | dict(given.workers_by_side))
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.rounds + 1):
        turn = number % len(given.sides)
        for side in (*given.sides[turn:], *given.sides[:turn]):
            for form, measure in (("backlog", backlog), ("live", live)):
                stage = given.stage(side, f"{form}{number}")
                try:
                    figures = {"round": number, "side": side.name, "form": form, **measure(stage, given)}
                except processes.SideDied as error:  # one side's failure must not cost the rounds of the others
                    failures.append({"round": number, "side": side.name, "form": form, "reason": str(error)})
                    rounds.say(f"  round {number} {side.name:<11} {form:<8} failed: {error}")
                    stage.clear()
                    continue
                runs.append(figures)
                rounds.say(
                    f"  round {number} {side.name:<11} {form:<8} {figures['per_second']:>9,.0f} events/s"
                    f"  {figures['cpu_us_per_event']:>7.1f} us CPU/event (workers)"
                )
    return {"runs": runs, "failures": failures, "summary": summary(runs)}


def backlog(stage: catalog.Stage, given: plan.Plan) -> dict[str, Any]:
    """Fill the log first, then start the side."""
    count = given.count(stage.side)
    run_id = "b-"
    stage.prepare()
    loaded = rounds.load(stage, run_id, count).answer(timeout_seconds=600)
    counter = rounds.Counter(stage)
    load_average = os.getloadavg()[0]
    workers = [stage.start(number + 1, expected=count) for number in range(given.workers(stage.side))]
    try:
        counter.wait_for(1, stall_seconds=60, alive=workers)
        if not counter.count:
            raise processes.SideDied(f"{stage.side.name}: no result in 60 s; its log says:\n{workers[0].tail()}")
        named = rounds.pids(stage, workers, watch=counter.child)
        began = counter.first()[0]
        counter.watch(until=began + SETTLE_SECONDS)
        settled, before = counter.seen[-1], rounds.snapshot(named)
        complete = counter.wait_for(count, stall_seconds=STALL_SECONDS, alive=workers)
        ended, after = counter.seen[-1], rounds.snapshot(named)
    finally:
        for child in (*workers, counter.child):
            child.kill()
    accounts = rounds.verify(stage, run_id, count)
    stage.clear()
    return {
        "events": count,
        "complete": complete,
        "first_to_last_per_second": round(count / max(ended[0] - began, 1e-9)),
        "loaded_per_second": round(loaded["sent"] / loaded["seconds"]),
        "load_average_before": round(load_average, 2),
        **accounts,
        **_rate(settled, ended, before, after, workers),
    }


def live(stage: catalog.Stage, given: plan.Plan) -> dict[str, Any]:
    """Start the side, then the producer at full speed for some seconds; count the results of those seconds."""
    run_id = "l-"
    stage.prepare()
    counter = rounds.Counter(stage)
    load_average = os.getloadavg()[0]
    workers = [stage.start(number + 1) for number in range(given.workers(stage.side))]
    children = [*workers, counter.child]
    try:
        rounds.warm_up(stage, counter, workers, partitions=stage.partitions)
        warm = counter.count
        producer = rounds.load(stage, run_id, given.live_events, seconds=given.live_seconds)
        children.append(producer)
        if not counter.wait_for(warm + 1, stall_seconds=30, alive=workers):
            raise processes.SideDied(f"{stage.side.name}: no result under load; its log says:\n{workers[0].tail()}")
        named = rounds.pids(stage, workers, watch=counter.child, producer=producer)
        began = counter.first(after=warm)[0]
        counter.watch(until=began + SETTLE_SECONDS)
        settled, before = counter.seen[-1], rounds.snapshot(named)
        counter.watch(until=began + given.live_seconds - SETTLE_SECONDS)
        ended, after = counter.seen[-1], rounds.snapshot(named)
        loaded = producer.answer(timeout_seconds=120)
    finally:
        for child in children:
            child.kill()
    accounts = rounds.verify(stage, run_id, loaded["sent"])
    stage.clear()
    return {
        "offered": loaded["sent"],
        "offered_per_second": round(loaded["sent"] / (loaded["offered"] - loaded["began"])),
        "doubled": accounts["doubled"],
        "load_average_before": round(load_average, 2),
        **_rate(settled, ended, before, after, workers),
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians by side and form, and the ratio Headgate / side of each round, of which the median counts."""
    table: dict[str, Any] = {}
    for form in ("backlog", "live"):
        rates = {(one["side"], one["round"]): one["per_second"] for one in runs if one["form"] == form}
        for side in dict.fromkeys(one["side"] for one in runs):
            mine = [one for one in runs if one["side"] == side and one["form"] == form]
            if not mine:
                continue
            ratios = [
                rates["headgate", number] / rate
                for (name, number), rate in rates.items()
                if name == side and rate > 0 and ("headgate", number) in rates
            ]
            table[f"{side}/{form}"] = {
                "per_second": round(rounds.median(one["per_second"] for one in mine)),
                "cpu_us_per_event": round(rounds.median(one["cpu_us_per_event"] for one in mine), 2),
                "broker_cpu_us_per_event": round(rounds.median(one["broker_cpu_us_per_event"] for one in mine), 2),
                "peak_rss_mb": rounds.median(one["peak_rss_mb"] for one in mine),
                "workers": mine[0]["workers"],
                "lost": sum(one.get("lost", 0) for one in mine),
                "doubled": sum(one["doubled"] for one in mine),
                "headgate_ratio": round(rounds.median(ratios), 2) if ratios else None,
            }
    return table


def _rate(
    settled: tuple[float, int],
    ended: tuple[float, int],
    before: rounds.Snapshot,
    after: rounds.Snapshot,
    workers: list[processes.Child],
) -> dict[str, Any]:
    results, seconds = ended[1] - settled[1], ended[0] - settled[0]
    spent = rounds.used(before, after)
    mine = [spent[worker.name] for worker in workers]
    return {
        "per_second": round(results / seconds) if seconds > 0 else 0,
        "results_in_window": results,
        "window_seconds": round(seconds, 3),
        "workers": len(workers),
        "cpu_us_per_event": round(sum(one["cpu_seconds"] for one in mine) / max(results, 1) * 1e6, 2),
        "broker_cpu_us_per_event": round(spent.get("broker", {}).get("cpu_seconds", 0) / max(results, 1) * 1e6, 2),
        "peak_rss_mb": round(sum(one["peak_rss_mb"] for one in mine), 1),
        "processes": spent,
    }

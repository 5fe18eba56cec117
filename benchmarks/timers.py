"""Sleeping runs: a million pending, of which 10,000 more fall due within one second; how late each wakes.

A timer's lateness is from the moment for which it was set to the workflow's next line. Then the same of waits for an
event that never comes, whose time is over: a side that has them asks more than its clock. A thousand of them within one
second make one figure, twenty a second another. Last the timers once more
after a kill -9 of the workers, which have no function of any of these runs in memory then.
"""

import json
import time
from dataclasses import replace
from typing import Any

from benchmarks import durable, plan, rounds, waiting, watch
from benchmarks.running import Kind, Running
from benchmarks.sides import diary, work

PENDING = 1_000_000
QUICK = 20_000
DUE = work.SPREAD
TIMEOUTS = 1_000
FEW_SECONDS = 20
FEW = 20 * FEW_SECONDS
"""Time-outs within so many seconds."""
WORST = 8
"""So many of the latest are told of with their times: whether it was one moment, or all the time."""
DAY_SECONDS = 86_400
RESTART_SECONDS = 45
"""For a restart among a million runs, and what it has to do after that."""


def run(given: plan.Plan) -> dict[str, Any]:
    """Measure each side, in half as many rounds as asked for."""
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.long_rounds + 1):
        for side in durable.turn(given, number):
            figures = durable.attempt(replace(side, workers=1), given, f"timers{number}", _measure, failures)
            if figures is not None:
                runs.append({"round": number, **figures})
                rounds.say(
                    f"  round {number} {side.name:<11} {figures['pending']:>9,} pending {figures['rss_mb']:>6,.0f} MB"
                    f"  {figures['due']:>6,} due  late p50 {figures.get('p50_ms', 0):.2f}"
                    f" p99 {figures.get('p99_ms', 0):.2f} max {figures.get('max_ms', 0):.2f} ms"
                    f"  early {figures['early']}  missed {figures['missed']}  twice {figures['twice']}"
                    f"  time-outs p99 {figures['timeouts'].get('p99_ms', 0):.2f}"
                    f" max {figures['timeouts'].get('max_ms', 0):.2f} ms"
                    f"  few of them p99 {figures['few'].get('p99_ms', 0):.2f} ms"
                    f"  after a restart: max {figures['restarted'].get('max_ms', 0):.2f} ms"
                )
    return {**durable.sides(given), "runs": runs, "failures": failures, "summary": _summary(runs)}


def _measure(running: Running, given: plan.Plan) -> dict[str, Any]:
    most = running.side.most_waiting
    pending = min(QUICK if given.quick else PENDING, most)
    due = min(DUE, most)
    reader = diary.Reader(running.diary)
    far = f'{{"due": {time.time() + DAY_SECONDS}}}'
    began = time.monotonic()
    waiting.park(running, reader, Kind.TIMER, "s-", pending, "--data", far)
    per_second = pending / (time.monotonic() - began)
    waiting.settle(running)
    fell = _fall_due(running, reader, Kind.TIMER, "d-", due, per_second)
    vain: dict[str, Any] = {}
    few: dict[str, Any] = {}
    if running.times_out:
        vain = _fall_due(running, reader, Kind.TIMEOUT, "v-", min(TIMEOUTS, most), per_second)
        few = _fall_due(running, reader, Kind.TIMEOUT, "l-", min(FEW, most), per_second, seconds=FEW_SECONDS)
    found = {"pending": pending, "rss_mb": waiting.rss_mb(running), **fell, "timeouts": vain, "few": few}
    anew = _fall_due(running, reader, Kind.TIMER, "a-", due, per_second, restarted=True)
    return {**found, "restarted": {"pending": pending, **anew, "rss_mb": waiting.rss_mb(running)}}


def _fall_due(
    running: Running,
    reader: diary.Reader,
    kind: Kind,
    run: str,
    due: int,
    per_second: float,
    *,
    seconds: int = 1,
    restarted: bool = False,
) -> dict[str, Any]:
    """Let runs fall due, spread over `seconds`; return how late they went on. `restarted`: the workers, meanwhile."""
    # Far enough for all of them to be asleep by then, by three times.
    moment = time.time() + 5 + 3 * due / per_second + (RESTART_SECONDS if restarted else 0)
    stride = work.SPREAD * seconds // due  # fewer runs than places in the time: the numbers leave places out
    data = {"due": moment, "stride": stride, "seconds": seconds}
    waiting.park(running, reader, kind, run, due, "--data", json.dumps(data))
    if restarted:
        running.kill_workers()
        running.start_workers()
        waiting.settle(running)
    left = moment - time.time()
    if left < 0:
        rounds.say(f"  {running.side.name} was not asleep in time: {-left:.1f} s late")
    before = rounds.snapshot(running.named())
    time.sleep(max(left, 0) + seconds)
    # The diary has the monotonic clock, the timers have that of the day: the difference stands still.
    shift_ns = time.time_ns() - time.monotonic_ns()
    rang: dict[str, int] = {}
    twice = strays = 0
    until = time.monotonic() + 30
    while len(rang) < due and time.monotonic() < until:
        for line in reader.new():
            if line.mark == diary.RANG:
                twice += line.run_id in rang
                strays += not line.run_id.startswith(run)
                rang.setdefault(line.run_id, line.at_ns)
        time.sleep(0.1)
    dues = {run_id: work.due({"id": run_id, **data}) for run_id in rang}
    late_ns = {run_id: at + shift_ns - int(dues[run_id] * 1e9) for run_id, at in rang.items()}
    lateness = sorted(late_ns.values())
    worst = sorted(late_ns, key=late_ns.__getitem__)[-WORST:]
    return {
        "due": due,
        "asleep_in_time": left >= 0,
        "early": sum(late < 0 for late in lateness),
        "missed": due - len(rang) + strays,
        "twice": twice,
        "processes": rounds.used(before, rounds.snapshot(running.named())),
        "latest": [
            {"due_at_seconds": round(dues[one] - moment, 3), "late_ms": round(late_ns[one] / 1e6, 3)} for one in worst
        ],
        **watch.percentiles(lateness),
    }


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for side in dict.fromkeys(one["side"] for one in runs):
        mine = [one for one in runs if one["side"] == side and "p50_ms" in one]
        if mine:
            names = ("pending", "due", "rss_mb", "p50_ms", "p99_ms", "max_ms")
            table[side] = {name: round(rounds.median(one[name] for one in mine), 3) for name in names}
            faults = ("early", "missed", "twice")
            table[side] |= {name: sum(one[name] for one in mine) for name in faults}
            if anew := [one["restarted"] for one in mine if "p50_ms" in one["restarted"]]:
                figures = {name: round(rounds.median(one[name] for one in anew), 3) for name in names}
                table[f"{side}/restarted"] = figures | {name: sum(one[name] for one in anew) for name in faults}
            for kind in ("timeouts", "few"):
                vain = [one[kind] for one in mine if "p50_ms" in one.get(kind, {})]
                if not vain:
                    continue
                figures = {
                    name: round(rounds.median(one[name] for one in vain), 3)
                    for name in ("due", "p50_ms", "p99_ms", "max_ms")
                }
                figures |= {name: sum(one[name] for one in vain) for name in faults}
                table[f"{side}/{kind}"] = figures
    return table

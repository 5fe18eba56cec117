"""A million runs that wait for an event: memory, waking one of them, what fresh runs pay, and a restart under them.

Memory is the resident memory that the operating system tells of the processes that run the author's code, before and
with the waiting runs. A wake counts from the intended send time of its event to the workflow's next line.
"""

import collections
import time
from dataclasses import replace
from typing import Any

from benchmarks import durable, plan, processes, rounds, watch
from benchmarks.running import Kind, Running
from benchmarks.sides import diary

WAITING = 1_000_000
QUICK = 20_000
WAKES = 1_000
WAKES_PER_SECOND = 50
MEDIANS = (
    *("waiting", "parked_per_second", "rss_mb_before", "rss_mb", "all_mb_before", "all_mb"),
    *("fresh_ratio", "restart_seconds"),
)


def run(given: plan.Plan) -> dict[str, Any]:
    """Measure each side, in half as many rounds as asked for."""
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.long_rounds + 1):
        for side in durable.turn(given, number):
            figures = durable.attempt(replace(side, workers=1), given, f"waiting{number}", _measure, failures)
            if figures is not None:
                runs.append({"round": number, **figures})
                rounds.say(
                    f"  round {number} {side.name:<11} {figures['waiting']:>9,} waiting"
                    f"  {figures['rss_mb']:>7,.0f} MB (before {figures['rss_mb_before']:,.0f})"
                    f"  wake p50 {figures['wake'].get('p50_ms', 0):.2f} p99 {figures['wake'].get('p99_ms', 0):.2f} ms"
                    f"  missed {figures['missed']}  twice {figures['twice']}"
                    f"  fresh runs x{figures['fresh_ratio']:.2f}  restart {figures['restart_seconds']:.2f} s"
                )
    return {**durable.sides(given), "runs": runs, "failures": failures, "summary": _summary(runs)}


def _measure(running: Running, given: plan.Plan) -> dict[str, Any]:
    count = min(given.waiting or (QUICK if given.quick else WAITING), running.side.most_waiting)
    fresh_before = durable.throughput(running, given)
    before, all_before = rss_mb(running), all_mb(running)
    reader = diary.Reader(running.diary)
    began = time.monotonic()
    park(running, reader, Kind.WAIT, "p-", count)
    parked_seconds = time.monotonic() - began
    settle(running)
    held, all_held = rss_mb(running), all_mb(running)
    wakes = _wake(running, reader, "k-", count, 100 if given.quick else WAKES)
    fresh = durable.throughput(running, given)
    return {
        "waiting": count,
        "parked_per_second": round(count / parked_seconds),
        "rss_mb_before": before,
        "rss_mb": held,
        "all_mb_before": all_before,
        "all_mb": all_held,
        **wakes,
        "fresh_per_second_before": fresh_before["per_second"],
        "fresh_per_second": fresh["per_second"],
        "fresh_ratio": round(fresh["per_second"] / fresh_before["per_second"], 3)
        if fresh_before["per_second"]
        else 0.0,
        "fresh_cpu_ms_before": _cpu_ms(fresh_before),
        "fresh_cpu_ms": _cpu_ms(fresh),
        "restart_seconds": _restart(running, reader),
        "rss_mb_after_restart": rss_mb(running),
        "wake_after_restart": _wake(running, reader, "m-", count, 50, first=count // 2)["wake"],
    }


def _cpu_ms(figures: dict[str, Any]) -> dict[str, float]:
    """Return what a fresh run costs each process, in milliseconds of CPU."""
    answered = max(1, figures["answered"])
    return {name: round(1000 * one["cpu_seconds"] / answered, 3) for name, one in figures["processes"].items()}


def park(running: Running, reader: diary.Reader, kind: Kind, run: str, count: int, *options: str) -> None:
    """Start `count` runs and wait until each has come to its wait."""
    wanted = ["--fire", "--check", "any", "--count", str(count), "--in-flight", "64", "--patience-seconds", "3600"]
    driver = running.drive("closed", run, kind, *wanted, *options)
    parked: set[str] = set()
    quiet = time.monotonic()
    try:
        while len(parked) < count:
            found = {line.run_id for line in reader.new() if line.mark == diary.PARKED and line.run_id.startswith(run)}
            if found - parked:
                quiet = time.monotonic()
            parked |= found
            if time.monotonic() - quiet > 120:
                raise processes.SideDied(f"{running.side.name}: {len(parked)} of {count} runs came to their wait")
            for worker in running.workers():
                worker.check()
            time.sleep(0.2)
        while "asked" not in (line := driver.answer(timeout_seconds=120)):
            pass
    finally:
        driver.kill()
    if line["wrong"] or line["lost"]:
        raise processes.SideDied(f"{running.side.name}: {line}")


def settle(running: Running) -> None:
    """Wait until the workers have finished what the last wait left to do: a second with little CPU, at most 120."""
    for _ in range(120):
        before = sum(processes.usage(worker.pid).cpu_seconds for worker in running.workers())
        time.sleep(1)
        after = sum(processes.usage(worker.pid).cpu_seconds for worker in running.workers())
        if after - before < 0.1:
            return


def _wake(
    running: Running, reader: diary.Reader, run: str, waiting: int, count: int, *, first: int = 0
) -> dict[str, Any]:
    """Wake `count` of the waiting runs, from number `first` on; return the times and what was missed or woken twice."""
    count = min(count, max(waiting // 4, 1))
    collections.deque(reader.new(), maxlen=0)
    options = ["--fire", "--check", "any", "--key-run", "p-", "--first", str(first), "--count", str(count)]
    options += ["--rate", str(WAKES_PER_SECOND), "--seconds", "3600"]
    driver = running.drive("open", run, Kind.WAKE, *options)
    started_ns = 0
    woken: dict[str, int] = {}
    twice = 0
    try:
        while "asked" not in (line := durable.answer(driver, running, timeout_seconds=120)):
            started_ns = started_ns or int(line["at_ns"])
        until = time.monotonic() + 10
        while len(woken) < count and time.monotonic() < until:
            for noted in reader.new():
                if noted.mark == diary.WOKEN:
                    twice += noted.run_id in woken
                    woken.setdefault(noted.run_id, noted.at_ns)
            time.sleep(0.05)
    finally:
        driver.kill()
    waits = sorted(at - started_ns - _after_ns(run_id, first) for run_id, at in woken.items())
    return {"wakes": count, "missed": count - len(woken), "twice": twice, "wake": watch.percentiles(waits)}


def _after_ns(run_id: str, first: int) -> int:
    """Return how long after the first wake that of `run_id` is sent."""
    return (int(run_id.rpartition("-")[2]) - first) * 1_000_000_000 // WAKES_PER_SECOND


def _restart(running: Running, reader: diary.Reader) -> float:
    """Kill the workers; return how long it takes from their start until a fresh run's first step."""
    running.kill_workers()
    collections.deque(reader.new(), maxlen=0)
    options = ["--fire", "--check", "any", "--rate", "20", "--seconds", "600"]
    driver = running.drive("open", "f-", Kind.ORDER, *options)
    started_ns = time.monotonic_ns()
    try:
        running.start_workers()
        until = time.monotonic() + 300
        while time.monotonic() < until:
            for line in reader.new():
                if line.run_id.startswith("f-"):
                    return round((line.at_ns - started_ns) / 1e9, 3)
            driver.check()
            time.sleep(0.02)
    finally:
        driver.kill()
    raise processes.SideDied(
        f"{running.side.name}: no fresh run in 300 s; its log says:\n{running.workers()[0].tail()}"
    )


def rss_mb(running: Running) -> float:
    """Return the resident memory of the processes that run the author's code."""
    return round(sum(processes.rss(worker.pid) for worker in running.workers()) / 1e6, 1)


def all_mb(running: Running) -> float:
    """Return the memory of the side's processes with its store, shared pages once."""
    return round(sum(processes.pss(pid) for pid in running.named().values()) / 1e6, 1)


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for side in dict.fromkeys(one["side"] for one in runs):
        mine = [one for one in runs if one["side"] == side]
        table[side] = {name: round(rounds.median(one[name] for one in mine), 3) for name in MEDIANS}
        for name in ("p50_ms", "p99_ms", "max_ms"):
            values = [one["wake"][name] for one in mine if name in one["wake"]]
            table[side]["wake_" + name] = round(rounds.median(values), 3) if values else None
        table[side] |= {name: sum(one[name] for one in mine) for name in ("missed", "twice")}
    return table

"""Three-step durable runs beside Restate and DBOS: runs per second, and how long one takes at a fixed rate.

Throughput is a closed loop with as many runs in flight as the side makes use of; latency an open loop at 400 runs/s
from the intended send time, and once more at half of what the side can do. Every answer is compared with what it must
be, and the diary with one line for each step.
"""

import collections
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks import durable_sides, plan, processes, rounds
from benchmarks.running import Kind, Running, Side
from benchmarks.sides import diary

RATE = 400
STEPS = 3


def run(given: plan.Plan) -> dict[str, Any]:
    """Run all sides, interleaved, `given.rounds` times; return the raw figures."""
    runs: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for number in range(1, given.rounds + 1):
        for side in turn(given, number):
            for form, measure in FORMS.items():
                rate = rate_of(form, side, runs)
                if rate is None:
                    continue
                figures = attempt(side, given, f"{form}{number}", partial(measure, rate=rate), failures)
                if figures is not None:
                    runs.append({"round": number, "form": form, **figures})
                    rounds.say(
                        f"  round {number} {side.name:<11} {form:<10} {figures['per_second']:>7,.0f} runs/s"
                        f"  p50 {figures.get('p50_ms', 0):>8.2f}  p99 {figures.get('p99_ms', 0):>8.2f} ms"
                        f"  lost {figures['lost']}  wrong {figures['wrong']}  repeated {figures['steps_repeated']}"
                    )
    return {"rate": RATE, **sides(given), "runs": runs, "failures": failures, "summary": summary(runs)}


def throughput(running: Running, given: plan.Plan, *, rate: int = 0) -> dict[str, Any]:  # noqa: ARG001 - closed loop
    """Keep runs in flight for some seconds, after some of warming up."""
    return measured(running, "closed", Kind.ORDER, *lasting(given), "--in-flight", str(running.side.in_flight))


def latency(running: Running, given: plan.Plan, *, rate: int) -> dict[str, Any]:
    """Start runs at the rate, after some of warming up."""
    return {"rate": rate, **measured(running, "open", Kind.ORDER, *lasting(given), "--rate", str(rate))}


def rate_of(form: str, side: Side, runs: Sequence[dict[str, Any]]) -> int | None:
    """Return the rate of a form: "half" is half of the side's last closed loop, and none where it can do the rate."""
    if form != "half":
        return RATE
    mine = [one["per_second"] for one in runs if (one["side"], one["form"]) == (side.name, "throughput")]
    return max(1, round(mine[-1] / 2)) if mine and mine[-1] < 2 * RATE else None


def lasting(given: plan.Plan) -> list[str]:
    """Return for how long the driver warms up and measures."""
    return ["--seconds", "3" if given.quick else "20", "--warm-up-seconds", "1" if given.quick else "5"]


def measured(
    running: Running, how: str, kind: Kind, *options: str, over: str = "", steps: int = STEPS
) -> dict[str, Any]:
    """Warm the side up, drive it, and return figures, use of each process in the window, and what the diary says."""
    limit_seconds = 8 * float(options[options.index("--warm-up-seconds") + 1])
    broker = running.named().get("broker")
    rounds.until_compiled(broker, lambda: warm_up(running, kind, *options, over=over), limit_seconds=limit_seconds)
    before = diary.Reader(running.diary)
    collections.deque(before.new(), maxlen=0)
    driver = running.drive(how, running.fresh("t"), kind, *options, over=over)
    snapshots: list[rounds.Snapshot] = []
    try:
        while "asked" not in (line := answer(driver, running, timeout_seconds=300)):
            snapshots.append(rounds.snapshot(running.named() | {"driver": driver.pid}))
    finally:
        driver.kill()
    spent = rounds.used(snapshots[0], snapshots[-1])
    for name, pid in running.named().items():
        spent[name]["memory_mb"] = round(processes.pss(pid) / 1e6, 1)
    return {**line, "processes": spent, **account(before, line["answered"], steps)}


def warm_up(running: Running, kind: Kind, *options: str, over: str = "") -> None:
    """Let the side do some of the work: until it has answered, and its code and caches are warm."""
    data = [value for pair in zip(options[::2], options[1::2], strict=True) for value in pair if pair[0] in KEPT]
    wanted = ["--seconds", "3", "--in-flight", "16", "--patience-seconds", "60"]
    driver = running.drive("closed", running.fresh("w"), kind, *wanted, *data, over=over)
    try:
        while "asked" not in (line := answer(driver, running, timeout_seconds=120)):
            pass
    finally:
        driver.kill()
    if line["lost"] or line["wrong"]:
        raise processes.SideDied(f"{running.side.name} does not work: {line}\n{running.workers()[0].tail()}")


KEPT = ("--data", "--check")
FORMS = {"throughput": throughput, "latency": latency, "half": latency}


def answer(driver: processes.Child, running: Running, *, timeout_seconds: float) -> dict[str, Any]:
    """Return the driver's next line. Raises SideDied if the side ends meanwhile."""
    until = time.monotonic() + timeout_seconds
    while time.monotonic() < until:
        for worker in running.workers():
            worker.check()
        line = driver.line(timeout_seconds=0.5)
        if line is not None:
            return line
    raise processes.SideDied(f"the driver of {running.side.name} said nothing for {timeout_seconds} s")


def account(before: diary.Reader, answered: int, steps: int) -> dict[str, Any]:
    """Return how many steps were run, how many of them more than once, and how many runs had all of theirs."""
    ran = collections.Counter((line.run_id, line.mark) for line in before.new())
    of_run = collections.Counter(run_id for run_id, _ in ran)
    return {
        "steps": len(ran),
        "steps_repeated": sum(count - 1 for count in ran.values()),
        "runs_without_a_step": max(0, answered - sum(count == steps for count in of_run.values())),
    }


@contextmanager
def started(side: Side, given: plan.Plan, label: str, **settings: str) -> Iterator[Running]:
    """Start the side, stop it whatever comes."""
    before = processes.children()
    try:
        running = side.start(side, given, label, settings)
    except BaseException:
        processes.end(processes.children() - before)  # half a side would take its part of the cores from the next one
        raise
    try:
        yield running
    finally:
        running.stop()


def attempt(
    side: Side, given: plan.Plan, label: str, measure: Any, failures: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Measure one side; its failure is told and must not cost the figures of the others."""
    try:
        with started(side, given, label) as running:
            return {"side": side.name, **measure(running, given)}
    except processes.SideDied as error:
        failures.append({"side": side.name, "label": label, "reason": str(error)})
        rounds.say(f"  {side.name} ({label}) failed: {error}")
        return None


def turn(given: plan.Plan, number: int) -> tuple[Side, ...]:
    """Return the sides in the order of a round: each begins one in turn."""
    chosen = tuple(durable_sides.SIDES[name] for name in given.durable_sides)
    first = number % len(chosen)
    return (*chosen[first:], *chosen[:first])


def sides(given: plan.Plan) -> dict[str, Any]:
    """Return what is told of the sides beside their figures."""
    told = {
        name: {"title": side.title, "durability": side.durability, "in_flight": side.in_flight}
        for name, side in durable_sides.SIDES.items()
        if name in given.durable_sides
    }
    return {"sides": told}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians by side and form, and the ratio Headgate / side of each round, of which the median counts."""
    table: dict[str, Any] = {}
    for form in FORMS:
        rates = {(one["side"], one["round"]): one["per_second"] for one in runs if one["form"] == form}
        for side in dict.fromkeys(one["side"] for one in runs):
            mine = [one for one in runs if (one["side"], one["form"]) == (side, form)]
            if not mine:
                continue
            ratios = [
                rates["headgate", number] / rate
                for (name, number), rate in rates.items()
                if name == side and rate > 0 and ("headgate", number) in rates
            ]
            table[f"{side}/{form}"] = {
                **{name: _median(mine, name) for name in ("rate", "per_second", "p50_ms", "p99_ms", "max_ms")},
                "cpu_ms_per_run": round(rounds.median(map(cpu_ms_per_run, mine)), 3),
                "memory_mb": round(rounds.median(map(memory_mb, mine)), 1),
                "processes": by_process(mine),
                **{name: sum(one[name] for one in mine) for name in ("lost", "doubled", "wrong", "steps_repeated")},
                "headgate_ratio": round(rounds.median(ratios), 2) if ratios else None,
            }
    return table


def cpu_ms_per_run(figures: dict[str, Any]) -> float:
    """Return the CPU time of the side's processes for each run, its store or broker included, the driver not."""
    spent = sum(one["cpu_seconds"] for name, one in figures["processes"].items() if name != "driver")
    return float(spent / max(figures["answered_in_window"], 1) * 1e3)


def by_process(mine: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return what each process used, medians over the rounds: CPU per run, peak and present memory."""
    return {
        name: {
            "cpu_ms_per_run": round(
                rounds.median(
                    one["processes"][name]["cpu_seconds"] / max(one["answered_in_window"], 1) * 1e3 for one in mine
                ),
                3,
            ),
            **{
                field: round(rounds.median(one["processes"][name].get(field, 0.0) for one in mine), 1)
                for field in ("peak_rss_mb", "memory_mb")
            },
        }
        for name in mine[0]["processes"]
    }


def memory_mb(figures: dict[str, Any]) -> float:
    """Return the memory of the side's processes together, after the work; what they share is counted once."""
    return float(sum(one.get("memory_mb", 0.0) for one in figures["processes"].values()))


def _median(mine: list[dict[str, Any]], name: str) -> float | None:
    values = [one[name] for one in mine if name in one]
    return round(rounds.median(values), 3) if values else None

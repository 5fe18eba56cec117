"""The memory of a worker with default settings whose bounds on events and ids are all reached, one after the other.

First more ids than it remembers, of which those events sleep as may that are for a workflow whose code it does not
have; then the heaviest events faster than they are handled; the same beside as many functions that wait as it keeps in
memory; at last a second worker, for which it reads ahead what the other one owns. Each figure is the peak so far, as
the operating system tells it.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import orjson

from benchmarks import catalog, load, plan, processes, rounds
from benchmarks.sides import headgate_asleep, headgate_bounds

IDS: Final = 8_400_000
"""A little more than `dedup.max_ids` remembers by default."""
ASLEEP: Final = 3_900_000
"""Of these: nearly `limits.asleep_events`, of which each partition has its share."""
QUICK_IDS: Final = 100_000
QUICK_ASLEEP: Final = 10_000
PATIENT: Final = 10_000
"""Functions that wait: `worker.suspended`."""
QUICK_PATIENT: Final = 100
ID_EVENT_BYTES: Final = 160
HEAVY: Final = 160
QUICK_HEAVY: Final = 16
TEXTS: Final = 80_000
"""In each heavy event: 0.96 MB of JSON, 10 MB and more as objects of Python."""
TOGETHER_SECONDS: Final = 40.0
SIDES: Final = processes.ROOT / "benchmarks" / "sides"
WORKFLOWS: Final = SIDES / "headgate_bounds.py"
ELSEWHERE: Final = SIDES / "headgate_asleep.py"
"""Whose code the worker does not have."""


def run(given: plan.Plan) -> dict[str, Any]:
    """Fill one bound after the other; return the peak after each."""
    stage = replace(given.stage(catalog.SIDES["headgate"], "bounds"), workflows=WORKFLOWS)
    stage.prepare()
    _announce(stage)
    counter = rounds.Counter(stage)
    workers = [_ready(stage, 1)]
    runs: list[dict[str, Any]] = []

    def note(bound: str, worker: processes.Child) -> None:
        figures = {
            "bound": bound,
            "rss_mb": round(processes.rss(worker.pid) / 1e6, 1),
            "peak_rss_mb": round(processes.usage(worker.pid).peak_rss_bytes / 1e6, 1),
        }
        runs.append(figures)
        rounds.say(f"  {bound:<9} {figures['rss_mb']:>6,.0f} MB, at most {figures['peak_rss_mb']:,.0f}")

    def wait_for(count: int) -> None:
        if not counter.wait_for(count, stall_seconds=120, alive=workers):
            raise processes.SideDied(f"{counter.count} of {count} results; the log says:\n{workers[0].tail()}")

    try:
        note("none", workers[0])
        all_ids, asleep = (QUICK_IDS, QUICK_ASLEEP) if given.quick else (IDS, ASLEEP)
        ids = all_ids - asleep
        options: dict[str, Any] = {"size_bytes": ID_EVENT_BYTES}
        rounds.load(stage, "a-", asleep, event_topic=headgate_asleep.TOPIC, **options).answer(timeout_seconds=600)
        producer = rounds.load(stage, "i-", ids, **options)  # behind those: once the last is handled, all others are
        wait_for(ids)
        producer.answer(timeout_seconds=60)
        note("ids", workers[0])
        heavy = QUICK_HEAVY if given.quick else HEAVY
        _produce(stage, "h-", heavy)
        wait_for(ids + heavy)
        note("heavy", workers[0])
        patient = QUICK_PATIENT if given.quick else PATIENT
        rounds.load(stage, "p-", patient, event_topic=headgate_bounds.PATIENT).answer(timeout_seconds=60)
        _produce(stage, "f-", heavy)
        wait_for(ids + 2 * heavy)
        note("functions", workers[0])
        workers.append(_ready(stage, 2))
        time.sleep(2.0 if given.quick else TOGETHER_SECONDS)  # it reads ahead, and says to nobody when it has
        _produce(stage, "g-", heavy)
        wait_for(ids + 3 * heavy)
        for name, worker in zip(("together", "second"), workers, strict=True):
            note(name, worker)
    finally:
        counter.child.kill()
        for worker in workers:
            worker.terminate()
        stage.clear()
    summary = {one["bound"]: {name: one[name] for name in ("rss_mb", "peak_rss_mb")} for one in runs}
    peak = max(one["peak_rss_mb"] for one in runs)
    filled = {"ids": all_ids, "asleep": asleep, "heavy": heavy, "patient": patient}
    return {**filled, "runs": runs, "summary": {**summary, "all": {"peak_rss_mb": peak}}}


def _announce(stage: catalog.Stage) -> None:
    """Let the workflow be known whose code no worker has later."""
    _ready(replace(stage, workflows=ELSEWHERE), 9).terminate()


def _ready(stage: catalog.Stage, number: int) -> processes.Child:
    port = catalog.free_port()
    worker = stage.start(number, metrics_port=port, snapshots=True)
    catalog.wait_until_ready(worker, port, timeout_seconds=120)
    return worker


def _produce(stage: catalog.Stage, run: str, count: int) -> None:
    """Produce `count` heavy events, to all partitions in turn."""
    sink = load.producer(stage.broker.bootstrap, linger_ms=0)
    failures = load.Failures()
    for key, value in _heavy(run, count):
        load.produce(sink, stage.input, value, key, on_delivery=failures)
        sink.poll(0)
    sink.flush(120)
    if failures.count:
        raise processes.SideDied(f"the broker did not take {failures.count} of {count} heavy events")


def _heavy(run: str, count: int) -> Iterator[tuple[bytes, bytes]]:
    texts = [f"t{number:07d}" for number in range(TEXTS)]
    for number in itertools.islice(itertools.count(), count):
        key = f"key{number:05d}"
        event = {"topic": headgate_bounds.HEAVY, "id": f"{run}{number}", "key": key, "data": texts}
        yield key.encode(), orjson.dumps(event)

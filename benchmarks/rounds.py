"""The pieces of a round that several modes share: load, count, warm up, account."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import catalog, processes

WARM_UP = "warm-"
MOST_COMPILING = 0.1
"""Of one core: a Java process that compiles no more than this is warm."""


class Counter:
    """The independent consumer of a stage's results, and what it has seen: (monotonic seconds, records so far)."""

    def __init__(self, stage: catalog.Stage, *, topic: str = "") -> None:
        where = _where(stage.broker.bootstrap, topic or stage.results)
        command = processes.python("benchmarks.watch", "count", *where)
        self.child = processes.Child("watch", command, cwd=stage.folder, talks=True)
        first = self.child.answer(timeout_seconds=30)
        self.seen: list[tuple[float, int]] = [(first["at"], 0)]

    @property
    def count(self) -> int:
        """How many results have been seen."""
        return self.seen[-1][1]

    def poll(self, *, timeout_seconds: float) -> bool:
        """Take the next observation; False if there was none in time."""
        line = self.child.line(timeout_seconds=timeout_seconds)
        if line is not None:
            self.seen.append((line["at"], line["count"]))
        return line is not None

    def wait_for(self, count: int, *, stall_seconds: float, alive: Iterable[processes.Child] = ()) -> bool:
        """Wait until `count` results were seen; False once none came for `stall_seconds`."""
        quiet = time.monotonic()
        while self.count < count:
            if self.poll(timeout_seconds=0.5):
                quiet = time.monotonic()
            elif time.monotonic() - quiet > stall_seconds:
                return False
            for child in alive:
                child.check()
        return True

    def watch(self, *, until: float) -> None:
        """Take observations until a moment of the monotonic clock."""
        while (left := until - time.monotonic()) > 0:
            self.poll(timeout_seconds=left)

    def first(self, *, after: int = 0) -> tuple[float, int]:
        """Return the observation in which the first result after `after` was seen."""
        return next(one for one in self.seen if one[1] > after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What each process has used at a moment."""

    at: float
    usages: Mapping[str, processes.Usage]


def snapshot(pids: Mapping[str, int]) -> Snapshot:
    """Ask the operating system about each process."""
    return Snapshot(at=time.monotonic(), usages={name: processes.usage(pid) for name, pid in pids.items()})


def used(before: Snapshot, after: Snapshot) -> dict[str, dict[str, float]]:
    """Return CPU seconds between two snapshots and the peak memory at the later one, by process."""
    return {name: since(before.usages[name], usage) for name, usage in after.usages.items()}


def since(before: processes.Usage, after: processes.Usage) -> dict[str, float]:
    """Return the CPU seconds of one process between two moments, and its peak memory at the later one."""
    return {
        "cpu_seconds": round(after.cpu_seconds - before.cpu_seconds, 3),
        "peak_rss_mb": round(after.peak_rss_bytes / 1e6, 1),
    }


def pids(stage: catalog.Stage, workers: Iterable[processes.Child], **others: processes.Child) -> dict[str, int]:
    """Return the processes of a round by name, the broker included where it is known."""
    named = {worker.name: worker.pid for worker in workers}
    if stage.broker.pid is not None:
        named["broker"] = stage.broker.pid
    return named | {name: child.pid for name, child in others.items()}


def load(stage: catalog.Stage, run: str, count: int, *, first: int = 0, **options: float | str) -> processes.Child:
    """Start the producer at full speed."""
    command = processes.python("benchmarks.load", "full", *_where(stage.broker.bootstrap, stage.input))
    command += ["--run", run, "--count", str(count), "--first", str(first), *_options(options)]
    return processes.Child("load", command, cwd=stage.folder, talks=True)


def pace(stage: catalog.Stage, run: str, *, rate: float, count: int, start_ns: int, topic: str = "") -> processes.Child:
    """Start the producer that sends event n at `start_ns + n / rate`."""
    command = processes.python("benchmarks.load", "paced", *_where(stage.broker.bootstrap, topic or stage.input))
    command += ["--run", run, "--count", str(count), "--rate", str(rate), "--start-ns", str(start_ns)]
    return processes.Child("pace", command, cwd=stage.folder, talks=True)


def warm_up(stage: catalog.Stage, counter: Counter, workers: list[processes.Child], *, partitions: int) -> None:
    """Send a few events to every partition and wait for their results: from then on the side is at work."""
    count = partitions * 8
    load(stage, WARM_UP, count).answer(timeout_seconds=60)
    if not counter.wait_for(count, stall_seconds=60, alive=workers):
        raise processes.SideDied(
            f"{stage.side.name} answered {counter.count} of {count} events in 60 s; its log says:\n{workers[0].tail()}"
        )


def warm_broker(stage: catalog.Stage, *, seconds: float) -> None:
    """Let the broker's compiler see both kinds of load, large batches and single records, until it has done its work.

    A broker in production has run for long. That of a benchmark is fresh, and a core's time went into compiling while
    the first sides were measured (a fifth of two cores, in a profile of durable runs).
    """
    stage.prepare()

    def both() -> None:
        load(stage, WARM_UP, int(seconds * 300_000), seconds=seconds).answer(timeout_seconds=seconds + 120)
        count = int(seconds * 2_000)
        pacing = pace(stage, WARM_UP, rate=2_000, count=count, start_ns=time.monotonic_ns())
        pacing.answer(timeout_seconds=seconds + 120)
        child = Counter(stage, topic=stage.input)
        child.wait_for(count, stall_seconds=5)
        child.child.kill()

    until_compiled(stage.broker.pid, both, limit_seconds=8 * seconds)
    stage.clear()


def until_compiled(pid: int | None, work: Callable[[], None], *, limit_seconds: float) -> None:
    """Do `work` until the Java process compiles little meanwhile, once at least, and for `limit_seconds` at most."""
    until = time.monotonic() + limit_seconds
    while True:
        before, began = 0.0 if pid is None else processes.compiler_seconds(pid), time.monotonic()
        work()
        took = time.monotonic() - began
        spent = 0.0 if pid is None else processes.compiler_seconds(pid) - before
        if spent <= MOST_COMPILING * took or time.monotonic() + took > until:
            return


def verify(stage: catalog.Stage, run: str, expected: int) -> dict[str, int]:
    """Account for every id of the run in the results."""
    command = processes.python("benchmarks.watch", "verify", *_where(stage.broker.bootstrap, stage.results))
    command += ["--run", run, "--expected", str(expected)]
    child = processes.Child("verify", command, cwd=stage.folder, talks=True)
    return {name: int(value) for name, value in child.answer(timeout_seconds=300).items()}


def median(values: Iterable[float]) -> float:
    """Return the middle value."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def say(text: str) -> None:
    """Tell the user how far it is."""
    print(text, flush=True)


def _where(bootstrap: str, topic: str) -> list[str]:
    return ["--bootstrap", bootstrap, "--topic", topic]


def _options(options: Mapping[str, Any]) -> list[str]:
    return [part for name, value in options.items() for part in ("--" + name.replace("_", "-"), str(value))]

"""Tries inputs in several processes, chunk by chunk. Called by `__main__` and by the quick test."""

import os
import random
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import FrameType
from typing import Any, Final

from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target

STUCK_SECONDS: Final = 120
"""No chunk takes that much processor time, unless an input makes a parser work for ever. Time that passes while the
system runs something else, or nothing, says nothing about a parser."""
MOST_OF_A_PLACE: Final = 3
"""Failures that are kept of one place in the code."""


class Stuck(BaseException):
    """A chunk did not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An input, what it raised, and where. `number` and the seed make it again."""

    target: str
    number: int
    error: str
    where: str
    input: str
    """In hex: the bytes themselves, else UTF-8 of its Python literal."""
    story: str


@dataclass(slots=True, kw_only=True)
class Tried:
    """What became of inputs of one target."""

    inputs: int = 0
    cpu_seconds: float = 0.0
    slowest_seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: "Tried") -> None:
        """Count another chunk as well."""
        self.inputs += other.inputs
        self.cpu_seconds += other.cpu_seconds
        self.slowest_seconds = max(self.slowest_seconds, other.slowest_seconds)
        self.outcomes.update(other.outcomes)
        self.failed += other.failed
        kept = Counter(one.where for one in self.failures)
        self.failures += [one for one in other.failures if kept[one.where] < MOST_OF_A_PLACE]


def inputs(target: Target, seed: int, first: int, count: int) -> Iterator[tuple[int, Any]]:
    """Yield inputs with their numbers. Those of a chunk come from one seed, so `first` is where a chunk begins."""
    assert first % target.chunk == 0
    chance = random.Random(f"{seed}/{target.name}/{first}")
    draw = Mutator(chance)
    for number in range(first, first + count):
        yield number, target.make(draw)


def chunk(target: Target, seed: int, first: int, count: int) -> Tried:
    """Try the inputs of a chunk, in this process."""
    tried = Tried()
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, given in inputs(target, seed, first, count):
            at = time.process_time()
            tried.inputs += 1
            try:
                tried.outcomes[target.check(given)] += 1
            except (Exception, Stuck) as error:  # noqa: BLE001 that is what is looked for
                _failed(tried, target, number, given, error)
                if isinstance(error, Stuck):
                    break
            tried.slowest_seconds = max(tried.slowest_seconds, time.process_time() - at)
    tried.cpu_seconds = time.process_time() - began
    return tried


def _failed(tried: Tried, target: Target, number: int, given: Any, error: BaseException) -> None:
    tried.failed += 1
    where = _where(error)
    if sum(one.where == where for one in tried.failures) < MOST_OF_A_PLACE:
        shown = given if isinstance(given, bytes) else repr(given).encode(errors="surrogatepass")
        story = "".join(traceback.format_exception(error, limit=-6))[-3000:]
        failure = Failure(
            target=target.name,
            number=number,
            error=f"{type(error).__name__}: {str(error)[:300]}",
            where=where,
            input=shown.hex(),
            story=story.encode(errors="replace").decode(),
        )
        tried.failures.append(failure)


def _where(error: BaseException) -> str:
    """Name the deepest place of ours: failures with the same one are the same."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if any(f"/{room}/" in one.filename for room in ("connectors", "topics", "fuzz"))]
    last = (ours or frames)[-1]
    name = last.filename.partition("/connectors/")[2] and f"connectors/{last.filename.rpartition('/connectors/')[2]}"
    return f"{type(error).__name__} at {name or last.filename.rpartition('/')[2]}:{last.lineno} in {last.name}"


# ---- several processes -----------------------------------------------------------------------------------------------

_known: dict[str, Target] = {}


def _begin(targets: Sequence[Target], niceness: int) -> None:
    _known.update({one.name: one for one in targets})
    os.nice(niceness)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, _stuck)


def _stuck(number: int, frame: FrameType | None) -> None:
    raise Stuck(f"not done in {STUCK_SECONDS} s of processor time")


def _task(name: str, seed: int, first: int, count: int) -> tuple[str, Tried]:
    signal.setitimer(signal.ITIMER_PROF, STUCK_SECONDS)
    try:
        return name, chunk(_known[name], seed, first, count)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def run(
    targets: Sequence[Target],
    *,
    count: int,
    seed: int,
    processes: int,
    progress: Callable[[str, Tried], None] = lambda name, tried: None,
) -> dict[str, Tried]:
    """Try `count` inputs of each target, fewer of those that cost more. `progress` hears of each that is done."""
    found: dict[str, Tried] = {}
    # Forked, so that a target need not travel: it is functions.
    with ProcessPoolExecutor(
        processes, mp_context=get_context("fork"), initializer=_begin, initargs=(targets, 0)
    ) as executor:
        for target in targets:
            wanted = max(1, count // target.cost)
            parts = [
                executor.submit(_task, target.name, seed, first, min(target.chunk, wanted - first))
                for first in range(0, wanted, target.chunk)
            ]
            tried = Tried()
            for part in parts:
                tried.add(part.result()[1])
            found[target.name] = tried
            progress(target.name, tried)
    return found

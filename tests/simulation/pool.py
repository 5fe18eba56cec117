"""Many seeds on all cores. A seed is a number and nothing else: it replays exactly, on any machine."""

import gc
import logging
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from tests.simulation.mutations import mutated
from tests.simulation.scenario import Scenario
from tests.simulation.violation import Violation

CHUNK = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A seed that broke a promise, and how."""

    seed: int
    message: str
    detail: str

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.message}\nreplay it with: python -m tests.simulation --seed {self.seed}"


def run_seed(seed: int) -> Failure | None:
    """Run one seed in this process."""
    scenario = Scenario(seed)
    try:
        scenario.run()
    except Violation as violation:
        cause = violation.__cause__
        detail = "" if cause is None else "".join(traceback.format_exception(cause))
        return Failure(seed=seed, message=str(violation), detail=detail)
    except Exception as error:  # noqa: BLE001 whatever it is, it must be reported with its seed
        detail = "".join(traceback.format_exception(error))
        return Failure(seed=seed, message=f"{type(error).__name__}: {error}", detail=detail)
    return None


def run_seeds(
    seeds: Sequence[int],
    *,
    progress: Callable[[int, Sequence[Failure]], None] = lambda _done, _failures: None,
    most_failures: int = 10,
    mutation: str | None = None,
) -> list[Failure]:
    """Run `seeds` on all cores; stop early after `most_failures`."""
    failures: list[Failure] = []
    chunks = iter([seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)])
    done_seeds = 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_quiet) as pool:
        running = {pool.submit(_run_chunk, chunk, mutation) for chunk in _first(chunks, 2 * (os.cpu_count() or 1))}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                count, found = one.result()
                done_seeds += count
                failures += found
            progress(done_seeds, failures)
            if len(failures) < most_failures:
                running |= {pool.submit(_run_chunk, chunk, mutation) for chunk in _first(chunks, len(done))}
    return sorted(failures, key=lambda one: one.seed)


@contextmanager
def noticing(seeds: Mapping[str, Sequence[int]]) -> Iterator[dict[str, Future[bool]]]:
    """Whether any of its seeds notices a mutation, by its name: found out beside each other, on all cores."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context, initializer=_quiet) as pool:
        try:
            yield {name: pool.submit(_is_noticed, some, name) for name, some in seeds.items()}
        finally:
            pool.shutdown(cancel_futures=True)


def _is_noticed(seeds: Sequence[int], mutation: str) -> bool:
    with mutated(mutation):
        return any(run_seed(seed) is not None for seed in seeds)


def _first(chunks: Iterator[Sequence[int]], count: int) -> list[Sequence[int]]:
    return list(islice(chunks, count))


def _quiet() -> None:
    logging.disable(logging.CRITICAL)
    gc.set_threshold(50_000, 20, 100)


def _run_chunk(seeds: Sequence[int], mutation: str | None) -> tuple[int, list[Failure]]:
    with mutated(mutation):
        found = [failure for seed in seeds if (failure := run_seed(seed)) is not None]
    return len(seeds), found

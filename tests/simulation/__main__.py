"""`python -m tests.simulation --seeds N`: run many seeds. `--seed S`: replay one, and tell what happened in it."""

import argparse
import logging
import sys
import time
from collections.abc import Sequence

from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.pool import Failure, run_seed, run_seeds
from tests.simulation.scenario import Scenario
from tests.simulation.violation import Violation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many seeds to run (2,000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="replay this one and tell its story")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="with this promise broken in the code")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed, given.mutation)
    started = time.monotonic()

    def progress(done: int, failures: Sequence[Failure]) -> None:
        if sys.stderr.isatty():
            rate = done / (time.monotonic() - started)
            print(f"\r{done}/{given.seeds} seeds, {len(failures)} failed, {rate:.0f}/s ", end="", file=sys.stderr)

    seeds = range(given.first, given.first + given.seeds)
    failures = run_seeds(seeds, progress=progress, mutation=given.mutation)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for failure in failures:
        print(failure)
    print(f"{given.seeds} seeds from {given.first}: {len(failures)} failed, {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def _replay(seed: int, mutation: str | None) -> int:
    logging.disable(logging.CRITICAL)
    with mutated(mutation):
        scenario = Scenario(seed)
        print(f"seed {seed}: {scenario.partitions} partitions, {scenario.weather}, late: {scenario.late}")
        print(scenario.shape)
        for program in scenario.programs:
            print(program)
        try:
            scenario.run()
        except Violation:
            pass
        seen = scenario.seen
        for (run, key), step in seen.steps.steps.items():
            asked = ", ".join(f"{at:.3f}" for at in seen.steps.asked.get((run, key), ()))
            print(f"step {key} of {run}, asked for at {asked}: {step}")
        for at, what in sorted(seen.trouble + [(at, f"{name}: {why}") for at, name, why in seen.failures]):
            print(f"{at:8.3f} s  {what}")
        failure = run_seed(seed)
    if failure is None:
        print(f"seed {seed} keeps every promise ({scenario.loop.steps} steps, {scenario.loop.time():.3f} s)")
        return 0
    print(failure.detail + str(failure))
    return 1


if __name__ == "__main__":
    sys.exit(main())

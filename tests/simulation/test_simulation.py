"""Thousands of seeds keep every promise; a seed replays exactly; a broken promise is noticed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.pool import noticing, run_seed, run_seeds
from tests.simulation.scenario import Scenario, is_durable

SEEDS = 6_200
DURABLE_SEEDS = 5_000
"""So many of them at least are over workflows with durable steps."""
ROOT = Path(__file__).parents[2]

NEEDED = 300
"""Seeds within which each mutation must be noticed; most need fewer than ten."""
RARE = {
    "pass-over-candidates": 468,
    "cancel-every-key": 315,
    "children-forgotten": 334,
    "keep-what-others-need": 468,
    "call-ahead": 628,
}
"""Mutations that so few seeds notice that one of these is named."""


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


def test_every_seed_keeps_every_promise() -> None:
    done = 0

    def progress(seeds: int, _failures: object) -> None:
        nonlocal done
        done = seeds

    failures = run_seeds(range(SEEDS), progress=progress)
    assert not failures, "\n\n".join(map(str, failures))
    assert done == SEEDS
    assert sum(map(is_durable, range(SEEDS))) >= DURABLE_SEEDS


def story(seed: int) -> str:
    """Return a digest of all that happened in a seed."""
    scenario = Scenario(seed)
    scenario.run()
    digest = sha256(repr((scenario.loop.steps, scenario.loop.time(), scenario.seen)).encode())
    for topic in ("events", "commands", "journal", "results", "runs", "dlq"):
        for number in range(scenario.cluster.count(topic)):
            digest.update(repr(scenario.cluster.read(topic, number)).encode())
    return digest.hexdigest()


def test_a_seed_replays_exactly_in_another_process() -> None:
    seeds = (3, 26, 157, 158, 159, 160)
    code = f"from tests.simulation.test_simulation import story; print(*map(story, {seeds}))"
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    done = subprocess.run(
        [sys.executable, "-c", "import logging; logging.disable(50)\n" + code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [story(seed) for seed in seeds]


@pytest.fixture(scope="module")
def noticed(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[bool]]]:
    """Whether each mutation that is asked for is noticed."""
    items = {one.name for one in request.session.items}
    names = [name for name in MUTATIONS if f"test_a_broken_promise_is_noticed[{name}]" in items]
    with noticing({name: (RARE[name],) if name in RARE else range(NEEDED) for name in names}) as found:
        yield found


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_promise_is_noticed(name: str, noticed: dict[str, Future[bool]]) -> None:
    assert noticed[name].result()


def test_a_failing_seed_says_how_to_replay_it() -> None:
    with mutated("forget-runs"):
        failure = next(one for seed in range(NEEDED) if (one := run_seed(seed)) is not None)
    assert str(failure).endswith(f"python -m tests.simulation --seed {failure.seed}")

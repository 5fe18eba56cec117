"""A short run of `make fuzz`: 2,000 inputs for each target, and what shows that a failure would be seen."""

import random
import signal
import time

import pytest

from tests.fuzz import pool
from tests.fuzz.__main__ import TARGETS, again, row, summary
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_escapes_as_an_unexpected_exception(name: str) -> None:
    target = TARGETS[name]

    tried = pool.chunk(target, seed=5, first=0, count=max(5, 2_000 // target.cost))

    assert [] == [f"{one.number}: {one.where}: {one.error}\n{one.input}" for one in tried.failures]


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_come_to_more_than_one_end(name: str) -> None:
    """Else the changes are so wild, or so tame, that nothing but the first check is tried."""
    target = TARGETS[name]

    tried = pool.chunk(target, seed=6, first=0, count=max(20, 600 // target.cost))

    assert len(tried.outcomes) > 1
    assert max(tried.outcomes.values()) < 0.995 * tried.inputs


def careless(given: bytes) -> str:
    return given.decode()[:1]


def test_a_failure_is_told_with_its_input_and_can_be_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    target = Target(name="careless", make=lambda draw: draw.raw([b"hello"]), check=careless, chunk=500)

    found = pool.run([target], count=2_000, seed=3, processes=2)["careless"]

    assert found.inputs == 2_000
    assert 0 < found.failed < 2_000
    assert sum(found.outcomes.values()) + found.failed == 2_000
    first = found.failures[0]
    assert len({one.where for one in found.failures}) * pool.MOST_OF_A_PLACE >= len(found.failures)
    with pytest.raises(UnicodeDecodeError):
        bytes.fromhex(first.input).decode()
    assert again([target], 3, first.number) == 1
    assert "UnicodeDecodeError" in capsys.readouterr().err
    assert "FAILED" in row("careless", found)
    assert summary({"careless": found}, 3, 2_000, 1.0)["targets"]["careless"]["failures"][0]["input"] == first.input


def endless(given: int) -> str:
    while True:
        pass


def paused(given: int) -> str:
    """Do nothing for much longer than a chunk may work, as a process that the system has stopped."""
    began = time.monotonic()
    signal.sigtimedwait({signal.SIGUSR1}, 3 * pool.STUCK_SECONDS)
    return "longer" if time.monotonic() - began > pool.STUCK_SECONDS else "shorter"


def test_an_input_at_which_a_parser_works_for_ever_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "STUCK_SECONDS", 0.2)
    target = Target(name="endless", make=lambda draw: draw.below(9), check=endless)

    found = pool.run([target], count=2, seed=1, processes=1)["endless"]

    assert (found.inputs, found.failed, found.outcomes) == (1, 1, {})
    assert found.failures[0].error == "Stuck: not done in 0.2 s of processor time"


def test_an_input_at_which_the_system_stops_the_process_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "STUCK_SECONDS", 0.2)
    target = Target(name="paused", make=lambda draw: draw.below(9), check=paused)

    found = pool.run([target], count=1, seed=1, processes=1)["paused"]

    assert (found.inputs, found.failed, found.outcomes) == (1, 0, {"longer": 1})
    assert found.slowest_seconds < pool.STUCK_SECONDS


def test_the_same_seed_makes_the_same_inputs() -> None:
    def made(seed: int) -> list[object]:
        draw = Mutator(random.Random(seed))
        return [draw.json([{"a": [1, {"b": "c"}], "d": "e"}]) for _ in range(200)]

    assert made(1) == made(1) != made(2)


def test_seeds_are_never_changed_themselves() -> None:
    seed = {"a": [1, {"b": "c"}], "d": {"e": [{}]}}
    draw = Mutator(random.Random(1))

    kinds = {type(draw.value([seed], most=6)) for _ in range(2_000)}

    assert seed == {"a": [1, {"b": "c"}], "d": {"e": [{}]}}
    assert kinds >= {dict, list, str, int}

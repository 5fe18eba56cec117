import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.kafka.embedded import process

# Ends on SIGTERM, and not otherwise; says when it is there.
PATIENT = ["sh", "-c", "echo there; exec cat"]
# Hears no SIGTERM.
STUBBORN = ["sh", "-c", "trap '' TERM; echo there; exec cat"]


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def started(command: list[str]) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert b"there\n" == child.stdout.readline()
    return child


@pytest.fixture
def patient() -> Iterator[subprocess.Popen[bytes]]:
    with started(PATIENT) as child:
        yield child
        child.kill()


def state_of(pid: int) -> process.State:
    identity = process.Identity.of(pid)
    return process.State(
        broker=identity, owner=identity, port=9092, cluster_id="c", settings="digest", ends_with_owner=True
    )


def test_a_process_is_found_until_it_is_gone(patient: subprocess.Popen[bytes]) -> None:
    identity = process.Identity.of(patient.pid)
    assert psutil.Process(patient.pid) == identity.find()

    process.kill(identity)  # a zombie now: we are its parent and have not asked for its exit code

    assert identity.find() is None


def test_a_later_process_with_the_same_number_is_another_one(patient: subprocess.Popen[bytes]) -> None:
    identity = process.Identity.of(patient.pid)

    assert replace(identity, started_at=identity.started_at - 60).find() is None


def test_a_process_that_hears_nothing_is_ended_by_force() -> None:
    with started(STUBBORN) as child:
        process.end(process.Identity.of(child.pid), grace_seconds=0.1)

        assert -9 == child.wait()


def test_a_frozen_process_is_ended_in_order(patient: subprocess.Popen[bytes]) -> None:
    psutil.Process(patient.pid).suspend()

    process.end(process.Identity.of(patient.pid), grace_seconds=10)

    assert -15 == patient.wait()


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    state = state_of(os.getpid())

    state.write(tmp_path / "broker.json")

    assert state == process.State.read(tmp_path / "broker.json")
    assert ["broker.json"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"broker": {"pid": 1}}'])
def test_a_state_that_says_nothing_useful_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "broker.json").write_text(content)

    assert process.State.read(tmp_path / "broker.json") is None


def test_the_lock_is_held_as_long_as_the_child_that_inherited_it_lives(tmp_path: Path, lock: Path) -> None:
    held = process.try_lock(lock)
    assert held is not None
    child = process.Child(["/bin/sh", "-c", "exec tail -f /dev/null"], log=tmp_path / "log", keep_open=held)

    identity = child.launch()
    held.close()

    assert process.try_lock(lock) is None
    process.end(identity, grace_seconds=10)
    child.join()
    free_again = process.try_lock(lock)
    assert free_again is not None
    free_again.close()


def test_what_a_child_says_and_its_exit_code_are_kept(tmp_path: Path, lock: Path) -> None:
    with lock.open("w") as held:
        child = process.Child(["/bin/sh", "-c", "echo words; exit 7"], log=tmp_path / "log", keep_open=held)
        child.launch()
        child.join()

    assert "words\n" == (tmp_path / "log").read_text()
    assert 7 == child.exit_code

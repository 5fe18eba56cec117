"""CI lays down what connectors are tested against: what cannot be had there is said, and is no failure."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
NEEDED: Final = ("sh", "sed", "cat", "ls", "dirname", "timeout")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of the few programs that there are, to which a test adds its own."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in NEEDED:
        if (found := shutil.which(name)) is None:
            pytest.skip(f"there is no {name}")
        (folder / name).symlink_to(found)
    return folder


def add(programs: Path, name: str, script: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{script}\n")
    (programs / name).chmod(0o755)


def run(
    *command: str, programs: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "PATH": str(programs), **(environment or {})}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def laid_down(folder: Path) -> Path:
    """Everything but the packages of the system is there."""
    pin = run("sed", "-n", "/^feedparser==/,/[^\\\\]$/p", "requirements-dev.txt", programs=Path(os.environ["PATH"]))
    for name in (".installed", "node_modules/.installed", "bin/pstest", "feeds/.installed"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(pin.stdout)
    return folder


def lay_down_of_the_system(tmp_path: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Ask for the packages of the system; all else is there."""
    peers = {"CONNECTOR_PEERS": str(laid_down(tmp_path / "peers"))}
    return run("sh", "tools/connector_peers.sh", "system", programs=programs, environment=peers)


def test_packages_of_the_system_that_cannot_be_had_are_said_and_fail_nothing(tmp_path: Path, programs: Path) -> None:
    add(programs, "id", "echo 0")
    add(programs, "apt-get", f'echo "$@" >>{tmp_path}/asked; exit 100')

    done = lay_down_of_the_system(tmp_path, programs)

    assert done.returncode == 0, done.stderr
    assert "apt-get has no lists of packages; tests with redis-server" in done.stderr
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert asked.endswith(" update")


def test_who_is_not_root_is_told_what_to_install(tmp_path: Path, programs: Path) -> None:
    add(programs, "id", "echo 1000")
    add(programs, "apt-get", "exit 100")

    done = lay_down_of_the_system(tmp_path, programs)

    assert done.returncode == 0, done.stderr
    assert "apt-get install redis-server" in done.stderr


@pytest.mark.parametrize("code", [0, 3])
def test_ci_asks_for_all_peers_and_ends_as_its_tests_do(tmp_path: Path, programs: Path, code: int) -> None:
    add(programs, "make", f'echo "$@" >>{tmp_path}/made; [ "$1" = test ] && exit {code}; exit 1')

    done = run("sh", ".ci/run", programs=programs)

    assert done.returncode == code, done.stderr
    assert (tmp_path / "made").read_text().splitlines() == ["peers ARGS=system", "test"]

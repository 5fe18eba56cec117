import os
import subprocess
import sys

import pytest

from app.kafka.embedded import launch

pytestmark = pytest.mark.skipif(
    not launch.TIES_TO_PARENT, reason="prctl(2) is Linux'; elsewhere nothing is launched so"
)


def launched(parent: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, launch.__file__, str(parent), "/bin/echo", "started"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_takes_the_place_of_the_launcher() -> None:
    done = launched(os.getpid())

    assert (0, "started\n") == (done.returncode, done.stdout)


def test_nothing_is_started_for_a_parent_that_is_dead_already() -> None:
    done = launched(os.getpid() + 1)

    assert (1, "") == (done.returncode, done.stdout)

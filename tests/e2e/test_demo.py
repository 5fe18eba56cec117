"""`make demo`: what a newcomer types first."""

import http.client
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.e2e.devrun import ROOT, SECONDS
from tests.e2e.waiting import until

DEMO = ("make", "--no-print-directory", "--assume-old=.venv/.installed-embedded", "demo")
"""In the environment of this very test, whatever its files look like."""
AN_HOUR_AGO = 3_600
STOPPED = (0, -signal.SIGINT)
"""How make ends that Ctrl-C stopped: of the signal, of which a shell makes 130, unless who started it ignores that."""


@pytest.fixture
def left_up(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """The demo without CHECK, in a group of its own as a shell starts it, and the file with what it prints."""
    printed = tmp_path / "printed"
    with printed.open("wb") as file:
        demo = subprocess.Popen(DEMO, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
    yield demo, printed
    if demo.poll() is None:
        os.killpg(demo.pid, signal.SIGTERM)
        demo.wait(SECONDS)


def test_the_demo_stays_up_at_its_addresses_until_ctrl_c(left_up: tuple["subprocess.Popen[bytes]", Path]) -> None:
    demo, printed = left_up
    until(
        lambda: "Ctrl-C stops everything." in printed.read_text() or demo.poll() is not None,
        2 * SECONDS,
        "the demo says how it is stopped",
        else_show=printed.read_text,
    )
    found = re.search(
        r"^The service is up: gateway http://127\.0\.0\.1:(\d+), Kafka", printed.read_text(), re.MULTILINE
    )
    assert found is not None, printed.read_text()
    with closing(http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)) as gateway:
        gateway.request("GET", "/readyz")
        answer = gateway.getresponse()
        assert (answer.status, b'"kafka"' in answer.read()) == (200, True)
    started = psutil.Process(demo.pid).children(recursive=True)
    assert any("kafka.Kafka" in " ".join(one.cmdline()) for one in started), "the broker is one of them"

    os.killpg(demo.pid, signal.SIGINT)

    assert demo.wait(SECONDS) in STOPPED, printed.read_text()
    assert printed.read_text().endswith("\nStopped.\n")
    assert [one for one in started if one.is_running()] == []


def test_the_demo_finds_everything_as_it_must_be() -> None:
    done = subprocess.run(
        [*DEMO, "CHECK=1", f"BEGAN={time.time() - AN_HOUR_AGO:.0f}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for caused in (
        r"charge_order:\w+ completed",
        r'batch_processor:\w+ completed: {"sum": 55, "events": 10}',
        "duplicate: dropped, no second run",
        "dead letter not_json",
        r"charge_order:\w+ rejected",
        "422 at '/payload'",
        "Everything is as it must be.",
    ):
        assert re.search(caused, done.stdout), done.stdout
    assert done.stdout.index(" HTTP ") < done.stdout.index(" console producer "), "what waits for no JVM is sent first"
    took = re.search(r"^From the start to the first result it took (\d+) s", done.stdout, re.MULTILINE)
    assert took is not None
    assert int(took[1]) >= AN_HOUR_AGO, "what make did before counts"

"""`make demo CHECK=1`: what a newcomer types first."""

import re
import subprocess
import sys

from tests.e2e.devrun import ROOT


def test_the_demo_finds_everything_as_it_must_be() -> None:
    done = subprocess.run(
        [sys.executable, "tools/demo.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=240
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

"""The demo's words. It runs in tests/e2e/test_demo.py."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools import demo
from tools.demo import ROOT


class Watched:
    """What a Watch has seen."""

    def runs_of(self, _sent: demo.Sent) -> dict[str, list[dict[str, Any]]]:
        run = {"run_id": "w:4f1c", "status": "completed", "error": None, "result": {"a": 1}}
        return {"w": [run, run | {"run_id": "w:5e2d", "status": "rejected", "error": {"message": "no"}}]}

    def letter_of(self, _sent: demo.Sent) -> None:
        return None


def test_runs_are_named_by_the_id_that_other_commands_take() -> None:
    caused = demo.caused(Watched(), demo.Sent(what="an event", how="HTTP"))  # type: ignore[arg-type]
    assert caused == ['w:4f1c completed: {"a": 1}', "w:5e2d rejected: no"]


def test_make_takes_the_time_before_it_installs_anything(tmp_path: Path) -> None:
    """With a clock, an installer and a Python that write down when they were called."""
    said = tmp_path / "said"
    scripts = {
        "date": "echo date >> said; echo 1234",
        "tools/setup.sh": "mkdir -p .venv; echo setup >> said",
        "python": 'echo "$1 began at $DEMO_BEGAN" >> said',
    }
    (tmp_path / "tools").mkdir()
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "requirements-embedded.txt"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(["make", "demo", "VENV=."], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert said.read_text().split("\n") == ["date", "setup", "tools/demo.py began at 1234", ""]

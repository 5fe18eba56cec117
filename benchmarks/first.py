"""From `make demo` in a fresh clone to the first result, with empty caches and once more: what a newcomer waits for.

The first time counts what the package registries take, so it says as much about the connection as about Headgate.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import plan, processes, rounds

STARTS: Final = ("empty caches", "second time")
_TOOK: Final = re.compile(r"^From the start to the first result it took (\d+) s", re.MULTILINE)
_LONGEST_SECONDS: Final = 900


def run(given: plan.Plan) -> dict[str, Any]:
    """Clone what is committed, and run `make demo CHECK=1` in it twice, in each round."""
    runs: list[dict[str, Any]] = []
    for number in range(1, given.long_rounds + 1):
        with tempfile.TemporaryDirectory(prefix="headgate-first-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            clone = folder / "headgate"
            subprocess.run(["git", "clone", "--quiet", processes.ROOT, clone], check=True)
            for start in STARTS:
                figures = {"round": number, "start": start, "first_result_seconds": _demo(clone, folder / "cache")}
                runs.append(figures)
                rounds.say(f"  round {number} {start:<12} {figures['first_result_seconds']} s to the first result")
    table = {}
    for start in STARTS:
        mine = [one["first_result_seconds"] for one in runs if one["start"] == start]
        table[start] = {"first_result_seconds": rounds.median(mine), "worst_seconds": max(mine)}
    return {"runs": runs, "summary": table}


def _demo(clone: Path, cache: Path) -> int:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        ["make", "demo", "CHECK=1"],
        cwd=clone,
        env=environment | {"XDG_CACHE_HOME": str(cache), "PIP_CACHE_DIR": str(cache / "pip")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_SECONDS,
    )
    took = _TOOK.search(done.stdout)
    if done.returncode or took is None:
        raise processes.SideDied(
            f"make demo ended with {done.returncode}:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
        )
    return int(took[1])

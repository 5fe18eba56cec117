"""`headgate` with a crash point: what it runs is the real program, with one function of it wrapped.

    STRIKE="append: after" STRIKE_AT=20 STRIKE_NOTE=struck.tsv python -m tests.e2e.struck worker flows.py

`STRIKE_SNAPSHOTS` is how often snapshots are due, in seconds: a minute is long for a test. Without arguments it forks
such programs on demand (`tests.e2e.nursery`).
"""

import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import uvloop

import app.cli.cluster
import app.cli.worker
from app.cli import main
from app.pump.partitions import Parts
from app.wiring import worker
from tests.e2e import crashpoints, nursery

POINT: Final = "STRIKE"
PASSAGE: Final = "STRIKE_AT"
NOTE: Final = "STRIKE_NOTE"
SNAPSHOTS: Final = "STRIKE_SNAPSHOTS"
IMPORTED: Final = (app.cli.cluster, app.cli.worker, uvloop)
"""What the command imports when it is called: here it is there before a fork."""


def environment(point: str, passage: int, note: Path) -> dict[str, str]:
    """Return the variables that tell a worker where to end."""
    return {POINT: point, PASSAGE: str(passage), NOTE: str(note)}


def _prepare(environ: Mapping[str, str]) -> None:
    every = environ.get(SNAPSHOTS)
    if every is not None:
        vars(worker)["Parts"] = functools.partial(Parts, snapshot_every_ms=int(float(every) * 1000))
    point = environ.get(POINT)
    if point is not None:
        crashpoints.arm(point, int(environ[PASSAGE]), Path(environ[NOTE]))


def run(arguments: list[str]) -> int:
    """Be `headgate ARGUMENTS...` as the environment says; returns its exit code."""
    _prepare(os.environ)
    return main.run(arguments)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(run(sys.argv[1:]))
    nursery.serve(run)

"""A role as a child of `headgate dev`: it imports while Kafka starts, begins when told, and never outlives its parent.

Its standard input is the line to the parent: `go` begins the work, its end (however the parent died) ends the role and
what an author's code has started. Where Linux can tell of the parent's death, a role that hangs in C code ends as well.
"""

import importlib
import os
import signal
import sys
import threading
from typing import Final

from app.cli import main

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
GO: Final = b"go\n"


def run(role: str, *arguments: str) -> int:
    """Be `headgate ROLE ARGUMENTS...`; returns its exit code."""
    go = threading.Event()
    threading.Thread(target=_listen, args=(go,), name="parent", daemon=True).start()
    _die_with_parent()
    importlib.import_module(f"app.wiring.{role}")
    go.wait()
    return main.run([role, *arguments])


def _listen(go: threading.Event) -> None:
    while said := os.read(0, 64):
        if GO in said:
            go.set()
    os.killpg(0, signal.SIGKILL)  # a group of our own: the parent starts each role in a session of its own


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))

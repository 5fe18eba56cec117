"""Linux: becomes the command given after the parent's pid, and is told to stop when that parent dies, however it dies.

A program of its own rather than code between fork and exec, which is not safe in a process with threads. Elsewhere
than on Linux nothing tells of a parent's death: this is not used, a broker orphaned there goes on, and the next start
finds and reuses it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

TIES_TO_PARENT: Final = sys.platform == "linux"
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def main(parent: str, *command: str) -> None:
    """Replace this process by `command`."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before we asked
        sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""What the exit code of a command says. An error that knows its code carries it as `exit_code`."""

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    CONFLICT = 4
    CRASHED = 70
    INTERRUPTED = 130


MEANINGS: Final = {
    Exit.OK: "done; a long-running command was stopped by Ctrl-C or SIGTERM",
    Exit.FAILED: "the check or the command failed",
    Exit.USAGE: "wrong usage or wrong settings, or a port or data folder that somebody else has",
    Exit.UNREACHABLE: "Kafka is not reachable",
    Exit.CONFLICT: "another process took over, or uses the same instance id",
    Exit.CRASHED: "unexpected error: nothing was acknowledged, start again",
    Exit.INTERRUPTED: "stopped by Ctrl-C before it was done",
}

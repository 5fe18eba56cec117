"""A process that has imported the program and forks workers of it: half of a worker's start is imports.

`serve` is that process; it reads commands from its standard input, each a line of JSON, and answers each with another.
"""

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class Born:
    """A worker, with what is needed of `subprocess.Popen`."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._nursery.ask(wait=self.pid, block=False)
        return self._code

    def wait(self) -> int:
        if self._code is None:
            self._code = self._nursery.ask(wait=self.pid, block=True)
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Forks workers; `close` ends it and them."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, command: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path) -> Born:
        """Return a worker whose output goes into `log`."""
        return Born(self, self.ask(start=list(command), env=dict(env), folder=str(folder), log=str(log)))

    def ask(self, **what: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def serve(live: Callable[[list[str]], int]) -> None:
    """Fork a process that calls `live` with its arguments for each command, until the standard input ends."""
    gc.freeze()
    children: set[int] = set()
    for line in sys.stdin:
        given = json.loads(line)
        if "start" in given:
            pid = os.fork()
            if pid == 0:
                os._exit(_born(given, live))
            children.add(pid)
            print(pid, flush=True)
        else:
            pid, status = os.waitpid(given["wait"], 0 if given["block"] else os.WNOHANG)
            children.discard(pid)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
    for one in children:
        os.kill(one, signal.SIGKILL)


def _born(given: Mapping[str, Any], live: Callable[[list[str]], int]) -> int:
    with Path(given["log"]).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(given["folder"])
    os.environ.update(given["env"])
    try:
        return live(given["start"])
    except BaseException:  # noqa: BLE001 nothing may go back into the loop of the parent
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()

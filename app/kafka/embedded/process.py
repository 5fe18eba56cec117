"""The broker as a process: started so that it ends with us, or found again after we were killed.

The lock of a data folder is an flock on a file that the broker inherits open: it is held exactly as long as that
broker lives, whoever started it, and nobody has to clean it up.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

import psutil

from app.kafka.embedded import launch
from app.kafka.embedded.errors import EmbeddedKafkaError

KILL_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
_START_TOLERANCE_SECONDS: Final = 1.0  # start times are read from a clock of its own, rounded


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process, told from a later one that got its number."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        return cls(pid=pid, started_at=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, if it is still alive."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started_at) < _START_TOLERANCE_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is known of the broker on a data folder; written beside its data."""

    broker: Identity
    owner: Identity
    port: int
    cluster_id: str
    settings: str  # a digest; another one means that the broker must be replaced
    ends_with_owner: bool

    def write(self, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        part.write_text(json.dumps(asdict(self), indent=2) + "\n")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> State | None:
        """The state in `path`; None if there is none or it says nothing useful."""
        try:
            found = json.loads(path.read_text())
            return cls(**{**found, "broker": Identity(**found["broker"]), "owner": Identity(**found["owner"])})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock in `path` for a while; wait for it."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(path: Path) -> IO[str] | None:
    """Take the lock in `path` if nobody has it; it is held until the returned file is closed by all who have it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


class Child(threading.Thread):
    """Starts a command and waits for it.

    On Linux a child is told when the *thread* that started it ends. So that is a thread of its own which lives as
    long as the child, not one of a pool that may shrink.
    """

    def __init__(self, command: list[str], *, log: Path, keep_open: IO[str]) -> None:
        super().__init__(name="embedded-kafka", daemon=True)
        self._command, self._log, self._keep_open = command, log, keep_open
        self._begun = threading.Event()
        self._failure: OSError | None = None
        self.exit_code: int | None = None
        self.identity: Identity | None = None

    def launch(self) -> Identity:
        """Start the command; returns at once. Raises OSError."""
        self.start()
        self._begun.wait()
        if self.identity is None:
            raise self._failure or ChildProcessError(f"{self._command[0]} ended at once")
        return self.identity

    def run(self) -> None:
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())] if launch.TIES_TO_PARENT else []
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [*launcher, *self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(self._keep_open.fileno(),),
                    start_new_session=True,  # Ctrl-C is for us alone; we stop the broker after its clients
                )
            with contextlib.suppress(psutil.NoSuchProcess):
                self.identity = Identity.of(process.pid)
        except OSError as error:
            self._failure = error
            return
        finally:
            self._begun.set()
        self.exit_code = process.wait()


def end(identity: Identity, *, grace_seconds: float) -> None:
    """Ask a process to end, and end it by force after `grace_seconds`. Returns when it is gone."""
    send(identity, signal.SIGTERM)
    send(identity, signal.SIGCONT)  # a stopped process hears nothing
    if not _gone_within(identity, grace_seconds):
        kill(identity)


def kill(identity: Identity) -> None:
    """End a process by force. Returns when it is gone."""
    send(identity, signal.SIGKILL)
    if not _gone_within(identity, KILL_SECONDS):
        raise EmbeddedKafkaError(
            f"Process {identity.pid} does not end, not even by force.",
            remedy="It hangs in the kernel, as on a dead network disk; see to that disk.",
        )


def send(identity: Identity, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still alive."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if found := identity.find():
            found.send_signal(number)


def _gone_within(identity: Identity, seconds: float) -> bool:
    """Polled, because only a parent can wait; a zombie that nobody reaps counts as gone."""
    pause = threading.Event()
    for _ in range(int(seconds / POLL_SECONDS)):
        if identity.find() is None:
            return True
        pause.wait(POLL_SECONDS)
    return identity.find() is None

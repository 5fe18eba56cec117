"""Child processes of the harness, and what the operating system says about them."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent


_COMPILER = " CompilerThre"
"""In the name of a thread of the JVM that compiles, of which Linux keeps 15 characters."""


class SideDied(Exception):
    """A process ended while it was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """CPU seconds (user and system) so far, and the peak resident memory."""

    cpu_seconds: float
    peak_rss_bytes: int


class Child:
    """One process, its log, and the JSON lines that it prints."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        talks: bool = False,
        user: str | None = None,
    ) -> None:
        cwd.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = cwd / f"{name}.log"
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self.pid = self.process.pid
        if talks:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def line(self, *, timeout_seconds: float) -> dict[str, Any] | None:
        """Return the next line, None after `timeout_seconds` without one. Raises SideDied at the end of the output."""
        try:
            line = self._lines.get(timeout=timeout_seconds)
        except queue.Empty:
            return None
        if line is None:
            raise SideDied(f"{self.name} ended with status {self.process.wait()}; its log says:\n{self.tail()}")
        return line

    def answer(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Return the next line. Raises SideDied when there is none in time."""
        line = self.line(timeout_seconds=timeout_seconds)
        if line is None:
            raise SideDied(f"{self.name} said nothing for {timeout_seconds} s; its log says:\n{self.tail()}")
        return line

    def check(self) -> None:
        """Raise SideDied if the process has ended."""
        if self.process.poll() is not None:
            raise SideDied(f"{self.name} ended with status {self.process.returncode}; its log says:\n{self.tail()}")

    def tail(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-3_000:]

    def kill(self) -> None:
        """End the process and its children at once; nothing after the last result is measured."""
        for process in (*_family(self.pid)[1:], *_family(self.pid)[:1]):
            try:
                process.kill()
            except psutil.NoSuchProcess:
                pass
        self.process.wait()

    def terminate(self, *, timeout_seconds: float = 15, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, insist after `timeout_seconds`."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self.kill()


def children() -> set[int]:
    """Return the processes that this one has started, directly or not, and that are alive."""
    return {process.pid for process in _family(os.getpid())[1:]}


def end(pids: Iterable[int]) -> None:
    """End processes of ours that an error or Ctrl-C left behind."""
    for pid in pids:
        try:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            pass


def python(module: str, *arguments: str) -> list[str]:
    """Return the command of one of the harness's own processes."""
    return [sys.executable, "-m", module, *arguments]


def usage(pid: int) -> Usage:
    """Return what the process and its children have used so far."""
    cpu, peak = 0.0, 0
    for process in _family(pid):
        try:
            times = process.cpu_times()
            cpu += times.user + times.system
            peak += _peak_rss(process.pid)
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return Usage(cpu_seconds=cpu, peak_rss_bytes=peak)


def own() -> Usage:
    """Return what this process alone has used so far: where it is the client that asks."""
    times = psutil.Process().cpu_times()
    return Usage(cpu_seconds=times.user + times.system, peak_rss_bytes=_peak_rss(os.getpid()))


def compiler_seconds(pid: int) -> float:
    """Return the CPU time that a Java process has spent on compiling so far; 0 where that cannot be told."""
    ticks = 0
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            name, _, rest = (thread / "stat").read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if _COMPILER in name:
            fields = rest.split()  # from the state on, which is the third
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rss(pid: int) -> int:
    """Return the resident memory of the process and its children now."""
    return sum(process.memory_info().rss for process in _family(pid))


def pss(pid: int) -> int:
    """Return the memory of the process and its children now, each page that they share counted once (PSS)."""
    total = 0
    for process in _family(pid):
        try:
            total += int(process.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):  # AttributeError: not Linux
            continue
    return total


def wait_until_free(*, load: float, limit_seconds: float) -> float:
    """Wait until the machine's load average has fallen to `load`, at most `limit_seconds`; return the load."""
    until = time.monotonic() + limit_seconds
    while os.getloadavg()[0] > load and time.monotonic() < until:
        time.sleep(1)
    return os.getloadavg()[0]


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _peak_rss(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if not status.exists():  # not Linux: the present size is the best known
        return int(psutil.Process(pid).memory_info().rss)
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

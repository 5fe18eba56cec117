"""The processes of `headgate dev`: each a child that is followed, named when it ends, and started again.

A child's standard input is its line to us (app.cli.role): it waits there for `go`, and ends when we are gone.
"""

import asyncio
import http.client
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from app.runtime import loader

GRACE_SECONDS: Final = 2.5
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
WATCH_SECONDS: Final = 0.3
WRONG_WORKFLOWS: Final = 2
"""Exit code of a worker that cannot load its workflows."""
CONFLICT: Final = 4
"""Exit code of a worker whose instance id or partitions another process has."""
_LONGEST_LINE: Final = 1024 * 1024

Say = Callable[[str, str], None]
"""Called with who speaks, and a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is the same for all children of a kind: `listening` finds the port in what they say."""

    role: str
    listening: re.Pattern[str]


WORKER: Final = Kind(role="worker", listening=re.compile(r"^headgate worker: \d+ partitions, metrics on port (\d+)$"))
CONNECTORS: Final = Kind(
    role="connectors", listening=re.compile(r"^headgate connectors: \d+ partitions, metrics on port (\d+)$")
)
GATEWAY: Final = Kind(role="gateway", listening=re.compile(r"^headgate gateway: http://\S+:(\d+)$"))


class Role:
    """One child process, kept running from `keep` to `stop`."""

    def __init__(
        self,
        kind: Kind,
        name: str,
        arguments: Sequence[str],
        *,
        launcher: Sequence[str],
        environment: Mapping[str, str],
        host: str = "127.0.0.1",
        paths: Sequence[str] = (),
        say: Say,
    ) -> None:
        """`host` is where it serves its health, as its settings say."""
        self.kind, self.name, self.host = kind, name, host
        self._command = [*launcher, kind.role, *arguments]
        self._environment = environment
        self._paths = paths
        self._say = say
        self._going = asyncio.Event()
        self._ends = asyncio.Event()
        self._group: int | None = None
        self._port: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """The child, and its process group; None between two of them."""
        return self._group

    @property
    def port(self) -> int | None:
        """Where its health and metrics are, once it has said so."""
        return self._port.result() if self._port.done() else None

    def go(self) -> None:
        """Let it begin: until then it has imported what it needs, and waits."""
        self._going.set()

    async def ready(self) -> int:
        """Return the port of its health once that says that it is ready, however often it has to be started."""
        while True:
            port = await asyncio.shield(self._port)
            if await asyncio.to_thread(_is_ready, self.host, port):
                return port
            await asyncio.sleep(POLL_SECONDS)

    async def keep(self) -> None:
        """Start it, and start it again whenever it ends; returns after `stop`."""
        pause = FIRST_PAUSE_SECONDS
        while not self._ends.is_set():
            began = time.monotonic()
            stamps = loader.stamps(self._paths)
            code = await self._run()
            if self._ends.is_set():
                return
            if code == WRONG_WORKFLOWS and self._paths:
                self._say(self.name, "waiting: it starts again as soon as one of the files changes")
                # Files have no event to wait for.
                while loader.stamps(self._paths) == stamps:  # noqa: ASYNC110
                    await asyncio.sleep(WATCH_SECONDS)
                continue
            if time.monotonic() - began > STEADY_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            if code == CONFLICT and self.kind is WORKER:
                self._say(self.name, "every other `headgate dev` on this cluster needs a --data folder of its own")
            self._say(self.name, f"{_ending(code)}; it starts again in {pause:g} s")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def ask_to_stop(self) -> None:
        """SIGTERM, or the end if it has not begun; `keep` returns once it has ended."""
        self._ends.set()
        if not self._going.is_set():
            self.kill()
        elif self._group is not None:
            with suppress(ProcessLookupError):
                os.kill(self._group, signal.SIGTERM)

    def kill(self) -> None:
        """End it and all that it has started, at once. What it did not journal is done again by the next one."""
        self._ends.set()
        self._kill_group()

    def _kill_group(self) -> None:
        if self._group is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._group, signal.SIGKILL)

    async def _run(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the parent, which ends the roles in order
        )
        assert process.stdin is not None
        self._group = process.pid
        going = asyncio.create_task(self._send_go(process.stdin))
        try:
            await self._follow(process)
            self._kill_group()  # what an author's code has left behind
            return await process.wait()
        finally:
            going.cancel()
            self._group = None
            if self._port.done():
                self._port = asyncio.get_running_loop().create_future()

    async def _send_go(self, line: asyncio.StreamWriter) -> None:
        await self._going.wait()
        with suppress(ConnectionError):
            line.write(b"go\n")
            await line.drain()

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Pass on what it says until it has ended, even where something that it started goes on to hold its output."""
        assert process.stdout is not None
        rest = b""
        reading = asyncio.ensure_future(process.stdout.read(64 * 1024))
        while True:
            done, _ = await asyncio.wait({reading}, timeout=WATCH_SECONDS)
            if not done:
                if process.returncode is None:
                    continue
                reading.cancel()
                break
            chunk = reading.result()
            if not chunk:
                break
            reading = asyncio.ensure_future(process.stdout.read(64 * 1024))
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._heard(line.decode(errors="replace").rstrip())
            if len(rest) > _LONGEST_LINE:
                self._heard(rest.decode(errors="replace"))
                rest = b""
        if rest:
            self._heard(rest.decode(errors="replace"))

    def _heard(self, line: str) -> None:
        found = self.kind.listening.match(line)
        if found is None:
            self._say(self.name, line)
        elif not self._port.done():
            self._port.set_result(int(found[1]))


def _is_ready(host: str, port: int) -> bool:
    # Not urllib: it would ask a proxy of the environment for this machine's own address.
    connection = http.client.HTTPConnection(host.strip("[]"), port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"

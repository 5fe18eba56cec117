"""`headgate dev` as a user starts it: a process of its own, on free ports, in a folder of its own."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import psutil

from app.kafka.embedded import ports
from tests.e2e.waiting import until

ROOT: Final = Path(__file__).resolve().parents[2]
HEADGATE: Final = Path(sys.executable).with_name("headgate")
SECONDS: Final = 60.0
_READY: Final = re.compile(r"^headgate ready: http://127\.0\.0\.1:(\d+) kafka (127\.0\.0\.1:\d+)$", re.MULTILINE)


class DevRun:
    """One `headgate dev`; a context manager that leaves nothing behind."""

    def __init__(
        self,
        folder: Path,
        *paths: str,
        kafka: str | None = None,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port, kafka_port = ports.free_port(), ports.free_port()
        self.kafka = kafka or f"127.0.0.1:{kafka_port}"
        self._log_file = folder / "dev.log"
        given = ["--port", str(self.port), *options]
        given += ["--kafka", kafka] if kafka else [] if "--kafka-port" in options else ["--kafka-port", str(kafka_port)]
        with self._log_file.open("wb") as log:
            self._child = subprocess.Popen(
                [str(HEADGATE), "dev", *paths, *given],
                cwd=folder,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._process = psutil.Process(self._child.pid)

    def __enter__(self) -> "DevRun":
        return self

    def __exit__(self, *_: object) -> None:
        left = self.children()
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for one in left:
            if one.is_running():
                one.kill()

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def said(self, pattern: str, *, times: int = 1) -> str:
        """Return the log once `pattern` is in it `times` times."""
        until(
            lambda: len(re.findall(pattern, self.log(), re.MULTILINE)) >= times,
            SECONDS,
            f"headgate dev says {pattern!r} {times} times",
            else_show=self.log,
        )
        return self.log()

    def ready(self) -> "DevRun":
        """Return once it says so, with the addresses that it was given."""
        found = _READY.search(self.said(_READY.pattern))
        assert found is not None
        assert (str(self.port), self.kafka) == (found[1], found[2])
        return self

    def post(self, event: Mapping[str, Any]) -> str:
        """Post an event; return its id."""
        return self.post_all([event])[0]

    def post_all(self, events: Sequence[Mapping[str, Any]]) -> list[str]:
        """Post events in one request; return their ids."""
        status, body = self.ask("POST", "/api/v1/events", json.dumps(list(events)))
        assert status == 202, body
        return [str(one["event_id"]) for one in body["events"]]

    def runs(self) -> list[dict[str, Any]]:
        """The runs that the gateway knows."""
        status, body = self.ask("GET", "/api/v1/runs", None)
        assert status == 200, body
        return list(body["runs"])

    def ask(
        self, method: str, path: str, body: str | None, more: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and answer; `more` headers go with the request."""
        headers = {"Authorization": "Bearer test-token", "Content-Type": "application/json", **(more or {})}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def children(self) -> list[psutil.Process]:
        """All processes that it has started, and those that they have."""
        try:
            return self._process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def child(self, words: str) -> psutil.Process:
        """The one child with `words` in its command line."""
        return until(
            lambda: next((one for one in self.children() if words in " ".join(one.cmdline())), None),
            SECONDS,
            f"a child {words!r}",
            else_show=self.log,
        )

    def interrupt(self) -> int:
        """Ctrl-C; return the exit code."""
        self._child.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code once it has ended by itself."""
        return self._child.wait(SECONDS)

    def kill(self) -> None:
        """kill -9 of the parent alone."""
        self._child.kill()
        self._child.wait()

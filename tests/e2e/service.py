"""Headgate as it runs in production: processes of the command line on a real broker, in a namespace of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from app.kafka import provisioning
from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings
from tests.e2e.nursery import Born, Nursery
from tests.e2e.waiting import until

FLOWS: Final = (Path(__file__).parent / "flows.py", Path(__file__).parent / "durable.py")
_ROOT: Final = Path(__file__).parents[2]
_HEADGATE: Final = Path(sys.executable).with_name("headgate")
_READY: Final = re.compile(r"headgate worker: \d+ partitions, metrics on port (\d+)")
_SOURCES_READY: Final = re.compile(r"headgate connectors: \d+ partitions, metrics on port (\d+)")
_LISTENING: Final = re.compile(r"headgate gateway: (http://\S+)")
_TAIL_CHARS: Final = 3_000
READY_SECONDS: Final = 30.0


def _get(url: str) -> str | None:
    """Return the body of a good answer."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return str(answer.read().decode())
    except OSError:  # HTTPError is one
        return None


class Process:
    """One `headgate` process; what it writes goes to a file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        *,
        nursery: Nursery | None = None,
    ) -> None:
        """`nursery`: who forks it, else it is the installed program."""
        self.name = name
        self.log_file = folder / f"{name}-{time.monotonic_ns()}.log"
        self._child: subprocess.Popen[bytes] | Born
        with self.log_file.open("wb") as log:
            if nursery is not None:
                self._child = nursery.start(command, env=env, folder=folder, log=self.log_file)
                self.pid = self._child.pid
                return
            self._child = subprocess.Popen(
                [str(_HEADGATE), *command],
                env={**os.environ, **env},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.pid = self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, object]]:
        """Return the records `name` of its log."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("event") == name]

    def kill(self) -> None:
        """kill -9."""
        self._child.kill()
        self._child.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._child.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._child.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        self._child.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; return the exit code."""
        self.ask_to_stop()
        return self.ended(seconds)

    def ended(self, seconds: float) -> int:
        """Return the exit code once it has ended by itself."""
        until(lambda: not self.alive, seconds, f"{self.name} ends", else_show=self.tail)
        return self._child.wait()

    def tail(self) -> str:
        return f"--- {self.name} (exit code {self._child.poll()}):\n{self.log()[-_TAIL_CHARS:]}"

    def said(self, pattern: re.Pattern[str], seconds: float = READY_SECONDS) -> str:
        """Return the first group of `pattern` once it is in the log."""

        def look() -> re.Match[str] | None:
            if not self.alive:
                raise AssertionError(f"{self.name} ended before it was ready\n{self.tail()}")
            return pattern.search(self.log())

        found = until(look, seconds, f"{self.name} says {pattern.pattern!r}", else_show=self.tail)
        return str(found[1])


class Worker(Process):
    """One `headgate worker`."""

    port: int | None = None

    def look_for_port(self) -> None:
        """Find out where its metrics are, if it has said so."""
        found = _READY.search(self.log())
        self.port = None if found is None else int(found[1])

    def ready(self, seconds: float = READY_SECONDS) -> "Worker":
        """Return once /readyz says so."""
        self.port = int(self.said(_READY, seconds))
        until(lambda: self._get("/readyz") is not None, seconds, f"{self.name} is ready", else_show=self.tail)
        return self

    @property
    def serves(self) -> bool:
        """Whether it owns partitions now; asked of one that has just been started as well."""
        if self.port is None:
            self.look_for_port()
        return self.owned() > 0

    def owned(self) -> int:
        """Return how many partitions it owns and serves; 0 while the group changes."""
        if self.port is None or self._get("/readyz") is None:
            return 0
        return int(self.metric("headgate_partitions"))

    def metric(self, name: str) -> float:
        """Return a metric, summed over its labels."""
        lines = (self._get("/metrics") or "").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def _get(self, path: str) -> str | None:
        return _get(f"http://127.0.0.1:{self.port}{path}")


class Connectors(Process):
    """One `headgate connectors`."""

    def ready(self, seconds: float = READY_SECONDS) -> "Connectors":
        """Return once it is a member of the group and runs its share."""
        self.said(_SOURCES_READY, seconds)
        return self


class Gateway(Process):
    """One `headgate gateway`."""

    TOKEN: Final = "token-of-the-tests"

    def url(self) -> str:
        return self.said(_LISTENING)

    def ready(self, seconds: float = READY_SECONDS) -> "Gateway":
        """Return once /readyz says so."""
        url = f"{self.url()}/readyz"
        until(lambda: _get(url) is not None, seconds, f"{self.name} is ready", else_show=self.tail)
        return self

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Post an event; return status and answer."""
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {self.TOKEN}", **(headers or {})}
        request = urllib.request.Request(f"{self.url()}/api/v1/events", data=body, headers=given)
        try:
            with urllib.request.urlopen(request, timeout=30.0) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()


class Service:
    """Everything of one test: settings, topics, processes. A context manager that leaves no process behind."""

    def __init__(
        self, kafka: EmbeddedKafka, prefix: str, folder: Path, *, partitions: int = 4, **settings: str
    ) -> None:
        """`settings` of all processes are as those of `start`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.kafka, self.prefix, self.folder, self.partitions = kafka, prefix, folder, partitions
        self.bootstrap = kafka.bootstrap
        self.diary = folder / "diary.tsv"
        """What the functions of steps have done (`tests.e2e.diary`)."""
        self.processes: list[Process] = []
        self._nursery: Nursery | None = None
        self.settings = Settings.load(
            {
                "kafka.bootstrap": self.bootstrap,
                "kafka.prefix": prefix,
                "kafka.partitions": partitions,
                "kafka.replication_factor": 1,
                "kafka.min_insync_replicas": 1,
            },
            environ={},
        )
        self._env = {
            "HEADGATE_KAFKA_BOOTSTRAP": self.bootstrap,
            "HEADGATE_KAFKA_PREFIX": prefix,
            "HEADGATE_KAFKA_PARTITIONS": str(partitions),
            "HEADGATE_KAFKA_REPLICATION_FACTOR": "1",
            "HEADGATE_KAFKA_MIN_INSYNC_REPLICAS": "1",
            "HEADGATE_LOG_FORMAT": "json",
            "HEADGATE_GATEWAY_TOKEN": Gateway.TOKEN,
            "DIARY": str(self.diary),
        }
        self._env = self._with(settings)

    def __enter__(self) -> "Service":
        self.apply_topics()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.alive:
                process.kill()
        if self._nursery is not None:
            self._nursery.close()

    def apply_topics(self) -> None:
        """Do what `headgate topics apply` does."""
        provisioning.apply(Admin.connect(self.settings.kafka), self.settings.kafka)

    def topic(self, name: str) -> str:
        return self.prefix + name

    def start(
        self,
        instance_id: str,
        *,
        flows: Path | None = None,
        struck: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Worker:
        """Start a worker; `settings` are environment variables without their prefix, in small letters.

        `struck` are variables of `tests.e2e.struck`, which then is its program.
        """
        command = [
            "worker",
            *map(str, FLOWS if flows is None else (flows,)),
            "--instance-id",
            instance_id,
            "--metrics-port",
            "0",
        ]
        env = self._with(settings)
        if struck is None:
            worker = Worker(instance_id, command, env, self.folder)
        else:
            if self._nursery is None:
                program = (sys.executable, "-m", "tests.e2e.struck")
                self._nursery = Nursery(program, {"PYTHONPATH": str(_ROOT)})
            worker = Worker(instance_id, command, {**env, **struck}, self.folder, nursery=self._nursery)
        self.processes.append(worker)
        return worker

    def command(self, *words: str, seconds: float = READY_SECONDS) -> str:
        """Run a command to its end, which must be a good one; return what it printed."""
        process = Process(words[0], words, self._env, self.folder)
        self.processes.append(process)
        assert process.ended(seconds) == 0, process.tail()
        return process.log()

    def connectors(self, name: str, *files: Path, **settings: str) -> Connectors:
        """Start a process of connectors, which may reach this machine."""
        command = ["connectors", *map(str, files), "--instance-id", name, "--metrics-port", "0", "--allow", "*"]
        process = Connectors(
            name,
            command,
            self._with({"connectors_dwell_seconds": "0", "connectors_folders": "/"} | settings),
            self.folder,
        )
        self.processes.append(process)
        return process

    def gateway(self, port: int = 0, **settings: str) -> Gateway:
        """Start a gateway; by default at a port that is free."""
        gateway = Gateway("gateway", ["gateway", "--port", str(port)], self._with(settings), self.folder)
        self.processes.append(gateway)
        return gateway

    def tails(self) -> str:
        """Return the last words of all processes."""
        return "\n".join(process.tail() for process in self.processes)

    def _with(self, settings: Mapping[str, str]) -> dict[str, str]:
        return self._env | {f"HEADGATE_{name.upper()}": value for name, value in settings.items()}


def share_evenly(*workers: Worker, seconds: float = READY_SECONDS) -> None:
    """Return once each of the workers owns partitions."""
    until(
        lambda: all(worker.owned() > 0 for worker in workers),
        seconds,
        "all workers own partitions",
        else_show=lambda: "\n".join(worker.tail() for worker in workers),
    )

"""The sides of durable runs: how each is started, what its processes are, and how the driver reaches it.

Headgate on the broker, Restate with its server, DBOS with a PostgreSQL cluster of its own in a temporary folder.
"""

import getpass
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import ClassVar

from benchmarks import broker, catalog, plan, processes
from benchmarks.sides import diary

PYTHON = processes.ROOT / ".venv-durable-peers" / "bin" / "python"
NPM = processes.ROOT / "benchmarks" / "npm"
WORKFLOWS = processes.ROOT / "benchmarks" / "sides" / "headgate_durable.py"
TOKEN = "test-token"


class Kind(Enum):
    """What a run does, by the name of its logical topic."""

    ORDER = "order"
    WAIT = "wait"
    WAKE = "wake"
    TIMER = "timer"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side. `in_flight` is what the closed loop keeps going: more made no more runs per second (measured)."""

    name: str
    title: str
    durability: str
    start: Callable[["Side", plan.Plan, str, Mapping[str, str]], "Running"] = field(repr=False)
    in_flight: int
    workers: int = 1
    needs: str = ""
    most_waiting: int = 1_000_000
    """More waiting runs than this are not asked of the side: each is a task and a poll in its process."""


class Running(ABC):
    """A side that runs."""

    def __init__(self, side: Side, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.side = side
        self.folder = folder
        self.diary = folder / "diary"
        self.diary.touch()
        self.diary.chmod(0o666)
        self.restarted_ns = 0

    @abstractmethod
    def named(self) -> dict[str, int]:
        """Return the side's processes by name, the store's included."""

    @abstractmethod
    def workers(self) -> list[processes.Child]:
        """Return the processes that run the author's code."""

    @abstractmethod
    def target(self, kind: Kind, *, over: str = "") -> list[str]:
        """Return how the driver reaches runs of this kind."""

    @abstractmethod
    def restart(self) -> None:
        """Kill the workers at once, and start them again."""

    @abstractmethod
    def stop(self) -> None:
        """End everything and leave nothing behind."""

    def drive(self, how: str, run: str, kind: Kind, *options: str, over: str = "") -> processes.Child:
        """Start the driver."""
        command = processes.python("benchmarks.drive", how, "--run", run, "--topic", f"bench/{kind.value}")
        return processes.Child(
            f"drive-{run.strip('-')}", [*command, *self.target(kind, over=over), *options], cwd=self.folder, talks=True
        )


class Headgate(Running):
    """Workers over the broker; a gateway too where runs are called over HTTP."""

    def __init__(self, side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> None:
        made = given.stage(catalog.SIDES["headgate"], label)
        super().__init__(side, made.folder)
        self._replies = "replies-" + made.prefix.rstrip(".")
        options = {
            diary.VARIABLE: str(self.diary),
            "HEADGATE_REPLIES_ALLOWED_TOPICS": self._replies,
            "HEADGATE_GATEWAY_TOKEN": TOKEN,
            **settings,
        }
        self._stage = replace(made, workflows=WORKFLOWS, settings=options)
        self._stage.prepare()
        broker.create(given.broker, [self._replies], partitions=self._stage.partitions)
        self._count = given.workers_by_side.get("headgate", side.workers)
        self._gateway: processes.Child | None = None
        self._port = 0
        self._workers: list[processes.Child] = []
        self._start()

    def _start(self) -> None:
        ports = [catalog.free_port() for _ in range(self._count)]
        self._workers = [self._stage.start(number + 1, metrics_port=port) for number, port in enumerate(ports)]
        for worker, port in zip(self._workers, ports, strict=True):
            catalog.wait_until_ready(worker, port, timeout_seconds=300)

    def named(self) -> dict[str, int]:
        """Workers, gateway, broker."""
        named = {worker.name: worker.pid for worker in self._workers}
        if self._gateway is not None:
            named["gateway"] = self._gateway.pid
        if self._stage.broker.pid is not None:
            named["broker"] = self._stage.broker.pid
        return named

    def workers(self) -> list[processes.Child]:
        """The workers."""
        return self._workers

    def target(self, kind: Kind, *, over: str = "") -> list[str]:
        """Kafka, and for calls `over` "http" or "reply_topic"."""
        if over == "http":
            if self._gateway is None:
                self._open_gateway()
            path = f"/api/v1/workflows/bench_{kind.value}/call?wait=10s"
            return ["--port", str(self._port), "--path", path, "--token", TOKEN, "--enveloped"]
        target = ["--bootstrap", self._stage.broker.bootstrap, "--input", self._stage.input]
        target += ["--results", self._stage.results]
        return [*target, "--reply-topic", self._replies] if over == "reply_topic" else target

    def _open_gateway(self) -> None:
        self._port = catalog.free_port()
        command = [str(catalog.HEADGATE), "gateway", "--kafka", self._stage.broker.bootstrap]
        command += ["--port", str(self._port)]
        self._gateway = processes.Child("gateway", command, cwd=self.folder, env=self._stage.environment())
        catalog.wait_until_ready(self._gateway, self._port)

    def restart(self) -> None:
        """kill -9, and start."""
        for worker in self._workers:
            worker.kill()
        self.restarted_ns = time.monotonic_ns()
        self._start()

    def stop(self) -> None:
        """End the processes, delete the topics."""
        for child in (*self._workers, *([self._gateway] if self._gateway else [])):
            child.kill()
        self._stage.clear()
        broker.delete(self._stage.broker, self._replies)


class Restate(Running):
    """A Restate server with a fresh folder, and Hypercorn with the services."""

    PATHS: ClassVar = {
        Kind.ORDER: "/orders/order",
        Kind.WAIT: "/waiters/{id}/run/send",
        Kind.WAKE: "/waiters/{key}/wake",
        Kind.TIMER: "/timers/timer/send",
        Kind.JOURNAL: "/journals/journal",
    }

    def __init__(self, side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> None:
        super().__init__(side, given.folder / f"{side.name}-{label}")
        self._ingress, self._admin, self._node, self._port = (catalog.free_port() for _ in range(4))
        self._services_count = given.workers_by_side.get(side.name, side.workers)
        environment = {
            "RESTATE_BASE_DIR": str(self.folder / "restate-data"),
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self._node}",
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self._ingress}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self._admin}",
            "RESTATE_DISABLE_TELEMETRY": "true",
            "RESTATE_DEFAULT_NUM_PARTITIONS": str(os.cpu_count() or 2),
            "RESTATE_LOG_FILTER": "warn",
            **settings,
        }
        self._server = processes.Child("restate-server", [str(_restate_server())], cwd=self.folder, env=environment)
        (self.folder / "hypercorn.toml").write_text(
            f'bind = "127.0.0.1:{self._port}"\nworkers = {self._services_count}\nworker_class = "uvloop"\n'
            "h2_max_concurrent_streams = 2147483647\nkeep_alive_max_requests = 2147483647\n"
            "keep_alive_timeout = 2147483647\n"
        )
        self._services = self._serve()
        _until_answers(self._server, f"http://127.0.0.1:{self._admin}/health")
        uri = {"uri": f"http://127.0.0.1:{self._port}", "force": True}
        _until_answers(self._services, f"http://127.0.0.1:{self._admin}/deployments", body=uri)
        _until_answers(self._server, f"http://127.0.0.1:{self._ingress}/restate/health")

    def _serve(self) -> processes.Child:
        command = [
            str(PYTHON),
            "-m",
            "hypercorn",
            "--config",
            "hypercorn.toml",
            "benchmarks.sides.restate_services:app",
        ]
        return processes.Child("services", command, cwd=self.folder, env={diary.VARIABLE: str(self.diary)})

    def named(self) -> dict[str, int]:
        """Services and server."""
        return {"services": self._services.pid, "restate-server": self._server.pid}

    def workers(self) -> list[processes.Child]:
        """The services."""
        return [self._services]

    def target(self, kind: Kind, *, over: str = "") -> list[str]:  # noqa: ARG002 - there is one way alone
        """The ingress."""
        return ["--port", str(self._ingress), "--path", self.PATHS[kind]]

    def restart(self) -> None:
        """The services alone: what waits is in the server."""
        self._services.kill()
        self.restarted_ns = time.monotonic_ns()
        self._services = self._serve()

    def stop(self) -> None:
        """End both."""
        self._services.kill()
        self._server.kill()
        shutil.rmtree(self.folder / "restate-data", ignore_errors=True)


class Dbos(Running):
    """A private PostgreSQL cluster, and uvicorn with the application."""

    def __init__(self, side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> None:
        super().__init__(side, given.folder / f"{side.name}-{label}")
        self._data = Path(tempfile.mkdtemp(prefix="headgate-bench-pg-"))
        self._postgres = self._start_cluster(settings)
        self._count = given.workers_by_side.get(side.name, side.workers)
        self._port = catalog.free_port()
        self._application = self._serve()
        _until_answers(self._application, f"http://127.0.0.1:{self._port}/health")

    def _start_cluster(self, settings: Mapping[str, str]) -> processes.Child:
        """PostgreSQL refuses to run as root: then it runs as its own user, or as nobody."""
        user = None
        if os.getuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            user = next(name for name in ("postgres", "nobody") if name in known)
            shutil.chown(self._data, user)
        bin_folder = _postgres_programs()
        made = subprocess.run(
            [bin_folder / "initdb", "-D", self._data / "db", "-U", "bench", "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=self._data,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise processes.SideDied(f"initdb failed as {user or getpass.getuser()}:\n{made.stdout}{made.stderr}")
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._data),
            "shared_buffers": "512MB",
            "max_connections": "200",
            "max_wal_size": "8GB",
            "checkpoint_timeout": "30min",
            **settings,
        }
        (self._data / "log").mkdir(mode=0o777)
        command = [str(bin_folder / "postgres"), "-D", str(self._data / "db")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server = processes.Child("postgres", command, cwd=self._data / "log", user=user)
        until = time.monotonic() + 30
        asked = [str(bin_folder / "pg_isready"), "-q", "-h", str(self._data), "-U", "bench", "-d", "postgres"]
        while subprocess.run(asked, check=False).returncode:
            server.check()
            if time.monotonic() > until:
                raise processes.SideDied(f"postgres was not ready in 30 s; its log says:\n{server.tail()}")
            time.sleep(0.1)
        return server

    def _serve(self) -> processes.Child:
        command = [str(PYTHON), "-m", "uvicorn", "benchmarks.sides.dbos_app:app", "--port", str(self._port)]
        command += ["--workers", str(self._count), "--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
        environment = {
            diary.VARIABLE: str(self.diary),
            "BENCH_POSTGRES": f"postgresql+psycopg://bench@/bench?host={self._data}",
        }
        return processes.Child("application", command, cwd=self.folder, env=environment)

    def named(self) -> dict[str, int]:
        """Application and store."""
        return {"application": self._application.pid, "postgres": self._postgres.pid}

    def workers(self) -> list[processes.Child]:
        """The application."""
        return [self._application]

    def target(self, kind: Kind, *, over: str = "") -> list[str]:  # noqa: ARG002 - there is one way alone
        """The application's port."""
        return ["--port", str(self._port), "--path", f"/{kind.value}"]

    def restart(self) -> None:
        """The application alone."""
        self._application.kill()
        self.restarted_ns = time.monotonic_ns()
        self._application = self._serve()

    def stop(self) -> None:
        """End both; SIGQUIT lets PostgreSQL free its shared memory."""
        self._application.kill()
        self._postgres.terminate(how=signal.SIGQUIT)
        shutil.rmtree(self._data, ignore_errors=True)


def _restate_os(side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> Running:
    relaxed = {
        "RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC": "true",
        "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "true",
    }
    return Restate(side, given, label, relaxed | dict(settings))


def _dbos_os(side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> Running:
    return Dbos(side, given, label, {"synchronous_commit": "off"} | dict(settings))


SIDES = {
    side.name: side
    for side in (
        Side(
            name="headgate",
            title="Headgate",
            durability="acks=all, flushed by the operating system",
            start=Headgate,
            in_flight=256,
        ),
        Side(
            name="restate",
            title="Restate (fsync)",
            durability="log flushed before each acknowledgement",
            start=Restate,
            in_flight=64,
            needs="restate",
            most_waiting=100_000,
        ),
        Side(
            name="restate-os",
            title="Restate (no fsync)",
            durability="log flushed by the operating system",
            start=_restate_os,
            in_flight=64,
            needs="restate",
            most_waiting=100_000,
        ),
        Side(
            name="dbos",
            title="DBOS on PostgreSQL (fsync)",
            durability="synchronous_commit=on",
            start=Dbos,
            in_flight=32,
            needs="dbos",
            most_waiting=1_000,
        ),
        Side(
            name="dbos-os",
            title="DBOS on PostgreSQL (no fsync)",
            durability="synchronous_commit=off",
            start=_dbos_os,
            in_flight=32,
            needs="dbos",
            most_waiting=1_000,
        ),
    )
}


def programs() -> dict[str, str]:
    """Return the versions of the peers' servers that are installed."""
    asked = {"restate-server": _restate_server(), "postgresql": _postgres_programs() / "postgres"}
    return {
        name: subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.split()[-1]
        for name, path in asked.items()
        if path.exists()
    }


def _restate_server() -> Path:
    """The program itself: the package's own script is Node.js around it."""
    found = sorted(NPM.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"))
    return found[0] if found else NPM / "restate-server"


def _postgres_programs() -> Path:
    """Debian keeps them by version, beside the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]))
    return found[-1].parent if found else Path(shutil.which("initdb") or "/").resolve().parent


def _until_answers(child: processes.Child, url: str, *, body: object = None, timeout_seconds: float = 60) -> None:
    """Ask until the answer is a success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"content-type": "application/json"})
    until = time.monotonic() + timeout_seconds
    while True:
        child.check()
        try:
            with urllib.request.urlopen(request, timeout=10):
                return
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > until:
                raise processes.SideDied(f"{url}: {error}; {child.name}'s log says:\n{child.tail()}") from error
        time.sleep(0.1)

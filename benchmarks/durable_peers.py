"""The peers of durable runs: Restate with its server, DBOS with a private PostgreSQL cluster in a temporary folder."""

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
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarks import catalog, plan, processes
from benchmarks.running import Kind, Running, Side
from benchmarks.sides import diary

PYTHON = processes.ROOT / ".venv-durable-peers" / "bin" / "python"
NPM = processes.ROOT / "benchmarks" / "npm"


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

    def kill_workers(self) -> None:
        """The services alone: what waits is in the server."""
        self._services.kill()

    def start_workers(self) -> None:
        """As it was."""
        self._services = self._serve()

    def stop(self) -> None:
        """End both; the services by SIGTERM first, for the semaphores of their processes outlive kill -9."""
        self._services.terminate(timeout_seconds=5)
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
            # An executor finds its own runs again after a restart, by its name; two processes must not have one name.
            "BENCH_EXECUTOR": "bench" if self._count == 1 else "",
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

    def kill_workers(self) -> None:
        """The application alone: what waits is in the database."""
        self._application.kill()

    def start_workers(self) -> None:
        """As it was."""
        self._application = self._serve()

    def stop(self) -> None:
        """End both, as with Restate; SIGQUIT lets PostgreSQL free its shared memory."""
        self._application.terminate(timeout_seconds=5)
        self._postgres.terminate(how=signal.SIGQUIT)
        shutil.rmtree(self._data, ignore_errors=True)


def restate_os(side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> Running:
    """Start Restate without fsync."""
    relaxed = {
        "RESTATE_BIFROST__LOCAL__ROCKSDB_DISABLE_WAL_FSYNC": "true",
        "RESTATE_LOG_SERVER__ROCKSDB_DISABLE_WAL_FSYNC": "true",
    }
    return Restate(side, given, label, relaxed | dict(settings))


def dbos_os(side: Side, given: plan.Plan, label: str, settings: Mapping[str, str]) -> Running:
    """Start DBOS on a cluster that acknowledges before fsync."""
    return Dbos(side, given, label, {"synchronous_commit": "off"} | dict(settings))


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

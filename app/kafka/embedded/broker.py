"""A real Apache Kafka (KRaft, one node, loopback only) as a child process. Used by `headgate dev`, demo and tests.

The data folder holds everything: `log/` (Kafka's own), `server.properties`, `broker.log`, and `broker.json`, by which
the next start finds a broker that outlived a killed parent. Ended with its parent by Linux; elsewhere by `stop()`,
which runs at interpreter exit too, so that only a parent killed outright leaves a broker behind.
"""

from __future__ import annotations

import atexit
import enum
import hashlib
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from app.kafka.embedded import jars, launch, ports, probe, process, properties
from app.kafka.embedded.errors import EmbeddedKafkaError, InUseError
from app.kafka.embedded.java import Java, find_java

STOP_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05
LOG_TAIL_LINES: Final = 12
PORT_ATTEMPTS: Final = 5  # for ports that we chose ourselves and somebody was quicker

_IN_USE = "Address already in use"


class Tuning(enum.Enum):
    """What the JVM is tuned for: being there soon (development, tests), or load (benchmarks)."""

    QUICK_START = ("-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    LOAD = ("-Xms512m", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:+AlwaysPreTouch")


class EmbeddedKafka:
    """One broker on one data folder. A context manager; not for use by several threads at once.

    `port=None` takes a free one and keeps it for later starts of the same object. `overrides` are broker settings
    that win over ours; `{port}` and `{controller_port}` in their values are filled in. After `kill()` or `stop()`,
    `start()` starts it again with its data.
    """

    def __init__(
        self,
        data: Path,
        *,
        port: int | None = None,
        tuning: Tuning = Tuning.QUICK_START,
        overrides: Mapping[str, str] | None = None,
        log_level: str = "warn",
        start_seconds: float = 60.0,
    ) -> None:
        self.data = data.absolute()
        self._port, self._wanted_port = port, port
        self._tuning, self._log_level, self._start_seconds = tuning, log_level, start_seconds
        self._overrides = dict(overrides or {})
        self._quick = tuning is Tuning.QUICK_START
        self._state: process.State | None = None
        self._child: process.Child | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients; known after the first start, or before it if the port was given."""
        if self._port is None:
            raise EmbeddedKafkaError("The embedded Kafka has no port yet.", remedy="Start it first.")
        return f"{probe.HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process, if it is alive."""
        found = self._state.broker.find() if self._state else None
        return found.pid if found else None

    @property
    def log_file(self) -> Path:
        return self.data / "broker.log"

    def start(self) -> None:
        """Return once clients can work with the broker. Raises EmbeddedKafkaError; then no broker of ours runs."""
        if self.pid is not None:
            return
        try:
            self.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedKafkaError(
                f"The data folder {self.data} cannot be made: {error.strerror or error}.", remedy="Choose another."
            ) from error
        with process.locked(self.data / "start.lock"):
            if not self._take_over():
                self._launch()
        atexit.register(self._at_exit, os.getpid())

    def stop(self) -> None:
        """End the broker in order, by force after some seconds. Harmless when it does not run."""
        atexit.unregister(self._at_exit)
        if self._state is not None:
            process.end(self._state.broker, grace_seconds=STOP_SECONDS)
        self._forget()

    def kill(self) -> None:
        """kill -9, for tests of what a crash of the broker does."""
        process.kill(self._alive())
        self._forget()

    def pause(self) -> None:
        """SIGSTOP: the broker is there but answers nobody."""
        process.send(self._alive(), signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause()`."""
        process.send(self._alive(), signal.SIGCONT)

    def _alive(self) -> process.Identity:
        if self._state is None or self._state.broker.find() is None:
            raise EmbeddedKafkaError("The embedded Kafka does not run.", remedy="Start it first.")
        return self._state.broker

    def _at_exit(self, owner: int) -> None:
        if os.getpid() == owner:  # a fork of the owner owns nothing
            self.stop()

    def _forget(self) -> None:
        if self._child is not None:
            self._child.join(STOP_SECONDS)
        if self._state is not None:
            (self.data / "broker.json").unlink(missing_ok=True)
        self._state, self._child = None, None

    def _take_over(self) -> bool:
        """Reuse the broker that an earlier process left on our folder, and say so; or see to it that there is none."""
        lock = process.try_lock(self.data / "broker.lock")
        if lock is not None:
            lock.close()
            return False
        state = process.State.read(self.data / "broker.json")
        broker = state.broker.find() if state else None
        if state is None or broker is None:
            raise InUseError(
                f"The data folder {self.data} is locked by a broker of which nothing else is known.",
                remedy="End that Kafka (a java process), or choose another data folder with --data.",
            )
        if state.owner.find() is not None:
            raise InUseError(
                f"The data folder {self.data} is in use by the broker on port {state.port} (pid {broker.pid}), "
                f"which belongs to the running process {state.owner.pid}.",
                remedy=f"Stop that process, use its broker with --kafka {probe.HOST}:{state.port}, "
                "or choose another data folder with --data.",
            )
        reusable = (
            not state.ends_with_owner  # else it is on its way out already
            and state.settings == self._settings_digest()
            and self._wanted_port in (None, state.port)
        )
        if reusable and self._is_healthy(state):
            self._port = state.port
            self._own(state.broker, cluster_id=state.cluster_id, ends_with_owner=False)
            return True
        process.end(state.broker, grace_seconds=STOP_SECONDS)
        return False

    def _is_healthy(self, state: process.State) -> bool:
        answer = probe.probe(state.port)
        return answer.ready and answer.cluster_id == state.cluster_id

    def _launch(self) -> None:
        if self._wanted_port is not None and not ports.is_free(self._wanted_port):
            raise ports.taken(self._wanted_port)
        java = find_java()
        classpath = jars.provide(jars.load_lock())
        for _ in range(PORT_ATTEMPTS):
            if self._port is None or (self._wanted_port is None and not ports.is_free(self._port)):
                self._port = ports.free_port()
            cluster_id = self._prepare(java, classpath)
            lost_race = self._run(java, classpath, cluster_id=cluster_id)
            if not lost_race:
                return
            if self._wanted_port is not None and not ports.is_free(self._wanted_port):
                raise ports.taken(self._wanted_port)
        raise EmbeddedKafkaError(
            f"Ports for the broker were taken by others {PORT_ATTEMPTS} times in a row.", remedy="Name a port yourself."
        )

    def _prepare(self, java: Java, classpath: list[Path]) -> str:
        """Write the broker's settings, format its folder if that is new, and return the cluster id."""
        settings = self.data / "server.properties"
        port, controller_port = str(self._port), str(ports.free_port())
        filled_in = {
            name: value.replace("{port}", port).replace("{controller_port}", controller_port)
            for name, value in self._properties().items()
        }
        settings.write_text(properties.text(filled_in))
        cluster_id = self._formatted_as()
        if cluster_id is not None:
            return cluster_id
        cluster_id = secrets.token_urlsafe(16)
        command = [*java_command(java, classpath, log_level="error"), "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*command, f"--cluster-id={cluster_id}", "--config", str(settings), "--ignore-formatted"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedKafkaError(
                f"Kafka could not format {self.data / 'log'} (exit code {done.returncode}): {done.stdout.strip()}",
                remedy="See whether the disk is full or the folder belongs to somebody else.",
            )
        return cluster_id

    def _formatted_as(self) -> str | None:
        try:
            lines = (self.data / "log" / "meta.properties").read_text().splitlines()
        except FileNotFoundError:
            return None
        return next((line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id=")), None)

    def _run(self, java: Java, classpath: list[Path], *, cluster_id: str) -> bool:
        """Start the broker and wait until it is ready. True if another process was quicker on one of its ports."""
        options = ("-XX:+ExitOnOutOfMemoryError", *self._tuning.value)
        command = java_command(java, classpath, log_level=self._log_level, options=options)
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        lock = process.try_lock(self.data / "broker.lock")
        if lock is None:
            raise InUseError(f"The data folder {self.data} was just taken.", remedy="Choose another.")
        with lock:  # the broker has it open as well, and so holds it when we close it
            self._child = process.Child(
                [*command, "kafka.Kafka", str(self.data / "server.properties")], log=self.log_file, keep_open=lock
            )
            try:
                identity = self._child.launch()
            except OSError as error:
                raise EmbeddedKafkaError(
                    f"{java.command} could not be started: {error}.", remedy="Try again."
                ) from error
        self._own(identity, cluster_id=cluster_id, ends_with_owner=launch.TIES_TO_PARENT)
        try:
            return self._await_ready(self._child, cluster_id)
        except BaseException:
            self.stop()
            raise

    def _await_ready(self, child: process.Child, cluster_id: str) -> bool:
        missing: str | None = None
        for _ in range(int(self._start_seconds / POLL_SECONDS)):
            child.join(POLL_SECONDS)
            if not child.is_alive():
                tail = self._log_tail()
                self._forget()
                if _IN_USE in tail:
                    return True
                raise EmbeddedKafkaError(
                    f"The broker ended with exit code {child.exit_code} before it was ready. Its last words:\n{tail}\n",
                    remedy=f"Its whole log is {self.log_file}.",
                )
            answer = probe.probe(int(self.bootstrap.rpartition(":")[2]))
            if answer.ready and answer.cluster_id == cluster_id:
                return False
            missing = answer.missing
        raise EmbeddedKafkaError(
            f"The broker was not ready within {self._start_seconds:.0f} s: {missing}.",
            remedy=f"Its log is {self.log_file}; on a slow machine, just try again.",
        )

    def _log_tail(self) -> str:
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _own(self, broker: process.Identity, *, cluster_id: str, ends_with_owner: bool) -> None:
        assert self._port is not None
        self._state = process.State(
            broker=broker,
            owner=process.Identity.of(os.getpid()),
            port=self._port,
            cluster_id=cluster_id,
            settings=self._settings_digest(),
            ends_with_owner=ends_with_owner,
        )
        self._state.write(self.data / "broker.json")

    def _settings_digest(self) -> str:
        content = (sorted(self._properties().items()), self._tuning.value, self._log_level, jars.load_lock().kafka)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]

    def _properties(self) -> dict[str, str]:
        """Broker settings, with placeholders for the ports."""
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "listeners": f"PLAINTEXT://{probe.HOST}:{{port}},CONTROLLER://{probe.HOST}:{{controller_port}}",
            "advertised.listeners": f"PLAINTEXT://{probe.HOST}:{{port}}",
            "controller.quorum.voters": f"1@{probe.HOST}:{{controller_port}}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data / "log"),
            # A typo must not make a topic.
            "auto.create.topics.enable": "false",
            # One node: everything once, and one partition of each internal topic, so that all of them are loaded
            # as soon as the first is.
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a crash the controller lets the broker register again only when its old session has passed.
            **({"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"} if self._quick else {}),
            # Fits the small heap; the default of 128 MB is for brokers with large compacted topics.
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        } | self._overrides


def java_command(
    java: Java | None = None,
    classpath: list[Path] | None = None,
    *,
    log_level: str = "warn",
    options: tuple[str, ...] = Tuning.QUICK_START.value,
) -> list[str]:
    """The command up to the main class, for broker and tools; finds Java and fetches jars where they are not given."""
    java = java or find_java()
    classpath = classpath or jars.provide(jars.load_lock())
    # From Java 24 on, native and unsafe access of snappy, zstd and others is reported unless it is allowed.
    allowed = (
        ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow") if java.version >= 24 else ()
    )
    return [
        str(java.command),
        *allowed,
        *options,
        "-XX:-UsePerfData",
        "-Djava.awt.headless=true",
        f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
        "-cp",
        os.pathsep.join(map(str, classpath)),
    ]

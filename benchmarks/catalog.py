"""The sides: how each is started, its topics, and how many events keep it busy for about ten seconds."""

import itertools
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import broker, processes

PARTITIONS = 8
PEERS_PYTHON = processes.ROOT / ".venv-peers" / "bin" / "python"
HEADGATE = processes.ROOT / ".venv" / "bin" / "headgate"
WORKFLOWS = processes.ROOT / "benchmarks" / "sides" / "headgate_workflows.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of the comparison. `module` is empty for Headgate, which is started by its own command line."""

    name: str
    title: str
    module: str
    events: int
    quick_events: int
    variant: str = ""
    workers: int = 1
    by_default: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)


SIDES = {
    side.name: side
    for side in (
        Side(name="headgate", title="Headgate", module="", events=800_000, quick_events=100_000),
        Side(
            name="quix",
            title="Quix Streams (stateful dedup, exactly-once)",
            module="benchmarks.sides.quix",
            events=400_000,
            quick_events=80_000,
        ),
        Side(
            name="faust",
            title="stock Faust (agent, Table, send)",
            module="benchmarks.sides.stock_faust",
            events=60_000,
            quick_events=12_000,
        ),
        Side(
            name="faststream",
            title="FastStream (subscriber, publisher)",
            module="benchmarks.sides.fast_stream",
            events=25_000,
            quick_events=5_000,
        ),
        Side(
            name="faststream-batch",
            title="FastStream (batch subscriber, publish_batch)",
            module="benchmarks.sides.fast_stream",
            variant="batch-kafka",
            events=200_000,
            quick_events=40_000,
            by_default=False,
        ),
        Side(
            name="aiokafka",
            title="raw aiokafka (consume and produce)",
            module="benchmarks.sides.raw_aiokafka",
            events=800_000,
            quick_events=150_000,
        ),
    )
}

_PORTS = itertools.cycle(random.sample(range(20_000, 32_000), 12_000))

# No side at all: the harness measures itself.
NONE = Side(name="none", title="harness alone", module="none", events=0, quick_events=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one round of one side stands on: fresh topics under a prefix of its own, and a folder for its files."""

    side: Side
    broker: broker.Broker
    prefix: str
    folder: Path
    partitions: int = PARTITIONS
    settings: Mapping[str, str] = field(default_factory=dict)
    workflows: Path = WORKFLOWS

    @property
    def input(self) -> str:
        """The topic that the side reads."""
        return self.prefix + "events"

    @property
    def results(self) -> str:
        """The topic that the side writes."""
        return self.prefix + "results"

    def environment(self) -> dict[str, str]:
        """Return the settings of a Headgate process on this stage."""
        return {
            "HEADGATE_KAFKA_BOOTSTRAP": self.broker.bootstrap,
            "HEADGATE_KAFKA_PREFIX": self.prefix,
            "HEADGATE_KAFKA_PARTITIONS": str(self.partitions),
            "HEADGATE_KAFKA_REPLICATION_FACTOR": "1",
            "HEADGATE_KAFKA_MIN_INSYNC_REPLICAS": "1",
            "HEADGATE_WORKER_GROUP": self.prefix + "worker",
            **self.side.settings,
            **self.settings,
        }

    def prepare(self) -> None:
        """Create the topics."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.side.module:
            broker.create(self.broker, [self.input, self.results], partitions=self.partitions)
            return
        apply = processes.Child("topics", [str(HEADGATE), "topics", "apply"], cwd=self.folder, env=self.environment())
        if apply.process.wait(timeout=60):
            raise processes.SideDied(f"headgate topics apply failed:\n{apply.tail()}")

    def clear(self) -> None:
        """Delete the topics."""
        broker.delete(self.broker, self.prefix)

    def start(
        self,
        number: int = 1,
        *,
        expected: int = 0,
        profile: str = "throughput",
        metrics_port: int = 0,
        snapshots: bool = False,
    ) -> processes.Child:
        """Start one worker process of the side; `number` tells the workers of one stage apart.

        With `snapshots` ours has a folder for them, which is there again at the next start.
        """
        name = f"{self.side.name}-{number}"
        folder = self.folder / name
        if not self.side.module:
            port = metrics_port or free_port()
            command = [str(HEADGATE), "worker", str(self.workflows), "--kafka", self.broker.bootstrap]
            command += ["--instance-id", name, "--metrics-port", str(port)]
            command += ["--data", str(folder / "snapshots")] if snapshots else []
            return processes.Child(name, command, cwd=folder, env=self.environment())
        if not PEERS_PYTHON.exists():
            raise SystemExit("The peers are not installed in .venv-peers; run benchmarks/setup_peers.sh.")
        command = [str(PEERS_PYTHON), "-m", self.side.module, "--bootstrap", self.broker.bootstrap]
        command += ["--input", self.input, "--results", self.results, "--group", self.prefix + "group"]
        command += ["--partitions", str(self.partitions), "--expected", str(expected), "--profile", profile]
        if self.side.variant:
            command += ["--variant", self.side.variant]
        return processes.Child(name, command, cwd=folder)


def free_port() -> int:
    """Return a port that nobody listens on, another one each time.

    Not one of those that the system gives to connections: it could be one's local end before a server is up there.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_until_ready(child: processes.Child, port: int, *, timeout_seconds: float = 60) -> float:
    """Return how many seconds it took until `/readyz` on `port` answered 200."""
    began = time.monotonic()
    while time.monotonic() - began < timeout_seconds:
        child.check()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return time.monotonic() - began
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.01)
    raise processes.SideDied(f"{child.name} was not ready in {timeout_seconds} s; its log says:\n{child.tail()}")

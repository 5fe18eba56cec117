"""The sides of durable runs: Headgate on the broker, and the list of all with what the modes ask of each."""

from collections.abc import Mapping
from dataclasses import replace

from benchmarks import broker, catalog, durable_peers, plan, processes
from benchmarks.running import Kind, Running, Side
from benchmarks.sides import diary

WORKFLOWS = processes.ROOT / "benchmarks" / "sides" / "headgate_durable.py"
TOKEN = "test-token"


class Headgate(Running):
    """Workers over the broker; a gateway too where runs are called over HTTP."""

    times_out = True

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
        self._count = given.workers_by_side.get(side.name, side.workers)
        self._gateway: processes.Child | None = None
        self._port = 0
        self._workers: list[processes.Child] = []
        self.start_workers()

    def start_workers(self) -> None:
        """All of them, until they are ready."""
        ports = [catalog.free_port() for _ in range(self._count)]
        self._workers = [
            self._stage.start(number + 1, metrics_port=port, snapshots=True) for number, port in enumerate(ports)
        ]
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

    def kill_workers(self) -> None:
        """The gateway stays."""
        for worker in self._workers:
            worker.kill()

    def stop(self) -> None:
        """End the processes, delete the topics."""
        for child in (*self._workers, *([self._gateway] if self._gateway else [])):
            child.kill()
        self._stage.clear()
        broker.delete(self._stage.broker, self._replies)


SIDES = {
    side.name: side
    for side in (
        Side(
            name="headgate",
            title="Headgate",
            durability="acks=all, flushed by the operating system",
            start=Headgate,
            in_flight=256,
            workers=2,
        ),
        Side(
            name="restate",
            title="Restate",
            durability="fsync before each acknowledgement",
            start=durable_peers.Restate,
            in_flight=64,
            workers=2,
            needs="restate",
            most_waiting=100_000,
        ),
        Side(
            name="restate-os",
            title="Restate",
            durability="flushed by the operating system",
            start=durable_peers.restate_os,
            in_flight=64,
            workers=2,
            needs="restate",
            most_waiting=100_000,
        ),
        Side(
            name="dbos",
            title="DBOS on PostgreSQL",
            durability="fsync at each commit",
            start=durable_peers.Dbos,
            in_flight=32,
            workers=2,
            needs="dbos",
            most_waiting=1_000,
        ),
        Side(
            name="dbos-os",
            title="DBOS on PostgreSQL",
            durability="flushed by the operating system (synchronous_commit=off)",
            start=durable_peers.dbos_os,
            in_flight=32,
            workers=2,
            needs="dbos",
            most_waiting=1_000,
        ),
    )
}

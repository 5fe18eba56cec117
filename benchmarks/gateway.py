"""Durable acknowledgements per second at `POST /api/v1/events`: single events and lists of 100, closed loop."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, cast

import uvloop
from confluent_kafka import Consumer, TopicPartition

from benchmarks import catalog, events, plan, processes, rounds

CONNECTIONS = 64
LIST_LENGTH = 100
TOKEN = "test-token"


class Connection(asyncio.Protocol):
    """One keep-alive connection: the next request leaves when the answer to the last one is whole."""

    def __init__(self, requests: Iterator[bytes], until: float) -> None:
        self._requests, self._until = requests, until
        self._buffer = b""
        self._sent_at = 0.0
        self.waits: list[float] = []
        self.refused: dict[str, int] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count the answer once it is whole."""
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        if len(body) < length:
            return
        self._buffer = body[length:]
        now = time.perf_counter()
        if head.startswith(b"HTTP/1.1 202 "):
            self.waits.append(now - self._sent_at)
        else:
            status = head.split(b" ", 2)[1].decode() + " " + body[:200].decode(errors="replace")
            self.refused[status] = self.refused.get(status, 0) + 1
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """End of this connection."""
        if exc is not None:
            self.refused[repr(exc)] = 1
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))


def requests(run: str, *, length: int, port: int) -> Iterator[bytes]:
    """Yield requests of one event, or of a list of `length`, with ids that never repeat."""
    head = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    stream = events.events(run, 0, 10**8)
    for _, value in stream:
        body = value
        if length > 1:
            body = b"[" + b",".join([value, *(next(stream)[1] for _ in range(length - 1))]) + b"]"
        yield head + str(len(body)).encode() + b"\r\n\r\n" + body


async def ask(port: int, run: str, *, length: int, seconds: float) -> dict[str, Any]:
    """Keep 64 connections busy with requests of `length` events each."""
    return await ask_with(requests(run, length=length, port=port), port, length=length, seconds=seconds)


async def ask_with(source: Iterator[bytes], port: int, *, length: int, seconds: float) -> dict[str, Any]:
    """Keep 64 connections busy for `seconds`; return acknowledgements per second and how long each took."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = [
        (await loop.create_connection(lambda: Connection(source, began + seconds), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.wait_for(asyncio.gather(*(one.done for one in connections)), seconds + 60)
    took = time.perf_counter() - began
    waits = sorted(wait for one in connections for wait in one.waits)
    refused: dict[str, int] = {}
    for one in connections:
        for status, count in one.refused.items():
            refused[status] = refused.get(status, 0) + count
    figures: dict[str, Any] = {
        "acknowledged_requests": len(waits),
        "acknowledged_events": len(waits) * length,
        "events_per_second": round(len(waits) * length / took),
        "refused": refused,
    }
    if waits:
        figures["p50_ms"] = round(waits[len(waits) // 2] * 1e3, 3)
        figures["p99_ms"] = round(waits[int(len(waits) * 0.99)] * 1e3, 3)
    return figures


def run(given: plan.Plan) -> dict[str, Any]:
    """Start a gateway, ask for single events and lists, compare what was acknowledged with what the log holds."""
    runs: list[dict[str, Any]] = []
    side = catalog.SIDES["headgate"]
    for number in range(1, given.rounds + 1):
        stage = given.stage(side, f"gateway{number}", settings={"HEADGATE_GATEWAY_TOKEN": TOKEN})
        stage.prepare()
        port = catalog.free_port()
        _announce(stage)
        command = [str(catalog.HEADGATE), "gateway", "--kafka", stage.broker.bootstrap, "--port", str(port)]
        gateway = processes.Child("gateway", command, cwd=stage.folder, env=stage.environment())
        try:
            catalog.wait_until_ready(gateway, port)
            uvloop.run(ask(port, "w-", length=1, seconds=0.5))
            for length in (1, LIST_LENGTH):
                held = _held(stage)
                named = rounds.pids(stage, [gateway])
                before, own = rounds.snapshot(named), processes.own()
                seconds = 2.0 if given.quick else 15.0
                figures = uvloop.run(ask(port, f"g{length}-", length=length, seconds=seconds))
                spent = rounds.used(before, rounds.snapshot(named)) | {"client": rounds.since(own, processes.own())}
                stored = _held(stage) - held
                runs.append({"round": number, "list": length, **figures, "stored_events": stored, "processes": spent})
                rounds.say(
                    f"  round {number} lists of {length:<4} {figures['events_per_second']:>8,} events/s acknowledged, "
                    f"p50 {figures.get('p50_ms')} ms, p99 {figures.get('p99_ms')} ms, refused {figures['refused']}, "
                    f"stored {stored - figures['acknowledged_events']:+}"
                )
        finally:
            gateway.terminate()
        stage.clear()
    return {"connections": CONNECTIONS, "runs": runs, "summary": _summary(runs)}


def _announce(stage: catalog.Stage) -> None:
    """Let a worker run for a moment, so that the gateway knows a workflow that its answers name."""
    port = catalog.free_port()
    worker = stage.start(metrics_port=port)
    try:
        catalog.wait_until_ready(worker, port)
    finally:
        worker.terminate()


def _held(stage: catalog.Stage) -> int:
    source = Consumer({"bootstrap.servers": stage.broker.bootstrap, "group.id": "headgate-bench-gateway"})
    try:
        parts = [TopicPartition(stage.input, number) for number in range(stage.partitions)]
        return sum(source.get_watermark_offsets(part, timeout=10)[1] for part in parts)
    finally:
        source.close()


def _summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for length in (1, LIST_LENGTH):
        mine = [one for one in runs if one["list"] == length and "p50_ms" in one]
        if mine:
            table[f"lists of {length}" if length > 1 else "single"] = {
                name: round(rounds.median(one[name] for one in mine), 3)
                for name in ("events_per_second", "p50_ms", "p99_ms")
            }
    return table

"""Producers of events, each a process of its own: `full` speed, or `paced` by an open loop. Prints one JSON line."""

import argparse
import json
import time
from typing import Any

from confluent_kafka import KafkaException, Message, Producer

from benchmarks import events, processes, rounds

NANOSECONDS = 1_000_000_000


class Failures:
    """Counts what the broker did not take; a benchmark that lost its own input must not go on silently."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: Any, _message: Message) -> None:
        self.count += error is not None


def producer(bootstrap: str, *, linger_ms: float) -> Producer:
    """Return an idempotent acks=all producer whose partitioner is Java's, so that each event lands at its home."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": linger_ms,
            "batch.num.messages": 10_000,
            "batch.size": 512 * 1024,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 256 * 1024,
            "sticky.partitioning.linger.ms": 0,
        }
    )


def produce(sink: Producer, topic: str, value: bytes, key: bytes, **options: Any) -> None:
    """Hand a record to the producer, as soon as it has room for one."""
    while True:
        try:
            sink.produce(topic, value, key, **options)
            return
        except BufferError:
            sink.poll(0.05)


def full(given: argparse.Namespace) -> dict[str, Any]:
    """Produce as fast as the broker takes it: `count` events, or for `seconds` if that is shorter."""
    before = processes.own()
    sink = producer(given.bootstrap, linger_ms=20)
    failures = Failures()
    began = time.monotonic()
    until = began + given.seconds if given.seconds else float("inf")
    sent = 0
    made = events.events(given.run, given.first, given.count, size_bytes=given.size_bytes, topic=given.event_topic)
    for key, value in made:
        produce(sink, given.topic, value, key, on_delivery=failures)
        sent += 1
        if sent % 2_000 == 0:
            sink.poll(0)
            if time.monotonic() > until:
                break
    offered = time.monotonic()
    _flush(sink, failures)
    used = rounds.since(before, processes.own())
    return {"sent": sent, "began": began, "offered": offered, "seconds": time.monotonic() - began, "used": used}


def paced(given: argparse.Namespace) -> dict[str, Any]:
    """Produce event n at `start_ns + n / rate`, whatever happened to the ones before it."""
    sink = producer(given.bootstrap, linger_ms=0)
    sink.list_topics(given.topic, timeout=10)
    failures = Failures()
    gap = NANOSECONDS / given.rate
    late = 0
    prepared = events.events(given.run, given.first, given.count, size_bytes=given.size_bytes)
    for index, (key, value) in enumerate(prepared):
        due = given.start_ns + int(index * gap)
        while (left := due - time.monotonic_ns()) > 0:
            if left > 2_000_000:
                sink.poll(0)
            time.sleep(min(left / NANOSECONDS, 0.05))
        late = max(late, -left)
        sink.produce(given.topic, value, key, on_delivery=failures)
        if index % 64 == 0:
            sink.poll(0)
    _flush(sink, failures)
    return {"sent": given.count, "worst_lateness_ms": late / 1e6}


def _flush(sink: Producer, failures: Failures) -> None:
    left = sink.flush(120)
    if left or failures.count:
        raise KafkaException(f"{left} events not acknowledged in 120 s, {failures.count} refused by the broker")


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["full", "paced"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--run", required=True, help="prefix of the event ids")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--start-ns", type=int)
    parser.add_argument("--size-bytes", type=int, default=events.SIZE_BYTES)
    parser.add_argument("--event-topic", default=events.TOPIC, help="that of the events, not of Kafka")
    given = parser.parse_args()
    print(json.dumps(full(given) if given.how == "full" else paced(given)), flush=True)


if __name__ == "__main__":
    main()

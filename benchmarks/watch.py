"""Independent consumers of results, each a process of its own, read_committed, outside any group.

`count` prints a line `{"at": monotonic seconds, "count": records}` whenever results arrived; `verify` reads the topic
again and says which ids are missing or doubled; `latency` compares each arrival with its event's intended send time.
"""

import argparse
import itertools
import json
import signal
import sys
import time
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from benchmarks import events

KNOWN_SECONDS = 10.0
"""How long a topic that was created just now may be unknown to the broker that is asked."""


def consumer(bootstrap: str, topic: str, *, offset: int, lowest_latency: bool = False, eof: bool = False) -> Consumer:
    """Return a consumer that has all partitions of `topic` assigned."""
    source = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "headgate-bench-watch",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500 if lowest_latency else 100,
            "fetch.min.bytes": 1,
            "enable.partition.eof": eof,
            "fetch.error.backoff.ms": 10,
            "queued.min.messages": 100_000,
            "fetch.message.max.bytes": 4 * 1024 * 1024,
        }
    )
    until = time.monotonic() + KNOWN_SECONDS
    while (found := source.list_topics(topic, timeout=10).topics[topic]).error:
        if time.monotonic() > until:
            raise KafkaException(found.error)
        time.sleep(0.1)
    source.assign([TopicPartition(topic, partition, offset) for partition in found.partitions])
    return source


def say(**fields: Any) -> None:
    """Tell the harness."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def count(given: argparse.Namespace) -> None:
    """Count records until the harness stops this process."""
    source = consumer(given.bootstrap, given.topic, offset=OFFSET_BEGINNING)
    total = 0
    say(at=time.monotonic(), count=0)
    while True:
        records = source.consume(5_000, timeout=0.02)
        if records:
            total += sum(record.error() is None for record in records)
            say(at=time.monotonic(), count=total)


def event_id(record: Message) -> str:
    """Return the id of the event that a result belongs to; empty if the record is not a completed result."""
    answer = orjson.loads(record.value() or b"{}")
    if answer.get("status") != "completed":
        return ""
    return str(answer["events"][0]["id"])


def verify(given: argparse.Namespace) -> None:
    """Read the topic from its beginning to its present end and account for every id of the run."""
    source = consumer(given.bootstrap, given.topic, offset=OFFSET_BEGINNING, eof=True)
    left = {part.partition for part in source.assignment()}
    seen: set[str] = set()
    doubled = foreign = 0
    while left:
        for record in source.consume(5_000, timeout=0.2):
            error = record.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                left.discard(record.partition())
                continue
            identity = event_id(record)
            if identity in seen:
                doubled += 1
            elif identity.startswith(given.run):
                seen.add(identity)
            else:
                foreign += 1
    say(distinct=len(seen), doubled=doubled, foreign=foreign, lost=given.expected - len(seen))


def latency(given: argparse.Namespace) -> None:
    """Note when each result arrives; on SIGTERM, or once all are here, print the distribution."""
    source = consumer(given.bootstrap, given.topic, offset=OFFSET_END, lowest_latency=True)
    gap = 1e9 / given.rate
    arrivals: dict[int, int] = {}
    partitions: dict[int, int] = {}
    doubled = 0
    stopped = False

    def stop(*_: Any) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    source.poll(0.2)
    say(ready=True)
    while not stopped and len(arrivals) < given.expected:
        record = source.poll(0.1)
        if record is None or record.error():
            continue
        now = time.monotonic_ns()
        identity = orjson.loads(record.value() or b"{}")["id"] if given.raw else event_id(record)
        if not identity.startswith(given.run):
            continue
        number = events.number(identity, given.run)
        if number in arrivals:
            doubled += 1
            continue
        arrivals[number] = now
        partitions[number] = record.partition() or 0
    skip = int(given.skip_seconds * given.rate)
    waits = sorted(at - given.start_ns - int(n * gap) for n, at in arrivals.items() if n >= skip)
    summary = {"expected": given.expected, "distinct": len(arrivals), "doubled": doubled}
    summary["lost"] = given.expected - len(arrivals)
    say(**summary, **percentiles(waits), gaps=gaps(arrivals, partitions, given.start_ns) if given.gaps else None)


def percentiles(waits_ns: list[int]) -> dict[str, float | int]:
    """Return p50, p99, p99.9 and the maximum in milliseconds."""
    if not waits_ns:
        return {"samples": 0}

    def at(share: float) -> float:
        return round(waits_ns[min(len(waits_ns) - 1, int(share * len(waits_ns)))] / 1e6, 3)

    return {
        "samples": len(waits_ns),
        "p50_ms": at(0.5),
        "p99_ms": at(0.99),
        "p999_ms": at(0.999),
        "max_ms": round(waits_ns[-1] / 1e6, 3),
    }


def gaps(arrivals: dict[int, int], partitions: dict[int, int], start_ns: int) -> dict[str, list[float]]:
    """Return, by partition, the longest time without a result: [seconds after the start, length in seconds]."""
    times: dict[int, list[int]] = {}
    for number, at in arrivals.items():
        times.setdefault(partitions[number], []).append(at)
    longest: dict[str, list[float]] = {}
    for partition, ordered in sorted(times.items()):
        ordered.sort()
        pairs = [(after - before, before) for before, after in itertools.pairwise(ordered)]
        length, before = max(pairs, default=(0, start_ns))
        longest[str(partition)] = [round((before - start_ns) / 1e9, 3), round(length / 1e9, 3)]
    return longest


def main() -> None:
    """Entry of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["count", "verify", "latency"])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--run", default="")
    parser.add_argument("--expected", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--start-ns", type=int, default=0)
    parser.add_argument("--skip-seconds", type=float, default=0.0, help="leave the first seconds out: warming up")
    parser.add_argument("--gaps", action="store_true", help="report the longest time without results by partition")
    parser.add_argument("--raw", action="store_true", help="the topic holds events, not results: calibration")
    given = parser.parse_args()
    {"count": count, "verify": verify, "latency": latency}[given.how](given)


if __name__ == "__main__":
    main()

"""Counts results as any consumer sees them: read_committed, from the beginning, without a group."""

import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.e2e.load import Load
from tests.e2e.service import Service
from tests.e2e.waiting import until

ORDERED: Final = ("fast", "slow", "threaded", "flaky", "twin_a", "twin_b", "chain")
"""Workflows whose results of one key come in the order of its events."""
Effect = tuple[str, int]
"""A workflow and the number of an event."""


@dataclass(kw_only=True)
class Verdict:
    """What became of the events."""

    results: int
    lost: set[Effect]
    doubled: set[Effect]
    strangers: set[Effect]
    repeated_runs: set[str]
    out_of_order: list[str]
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def right(self) -> bool:
        return not (self.lost or self.doubled or self.strangers or self.repeated_runs or self.out_of_order)

    def __str__(self) -> str:
        return (
            f"{self.results} results; lost {len(self.lost)} {sorted(self.lost)[:5]}, doubled {len(self.doubled)} "
            f"{sorted(self.doubled)[:5]}, of no event {sorted(self.strangers)[:5]}, run ids twice "
            f"{sorted(self.repeated_runs)[:5]}, out of order {self.out_of_order[:5]}"
        )


class Reader:
    """Reads a topic from the beginning, again and again a little further."""

    def __init__(self, service: Service, topic: str, partitions: int) -> None:
        self._topic = service.topic(topic)
        self._partitions = partitions
        self._consumer = Consumer(
            {
                "bootstrap.servers": service.bootstrap,
                "group.id": "tally",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "fetch.message.max.bytes": 16 * 1024 * 1024,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(self._topic, one, OFFSET_BEGINNING) for one in range(partitions)])

    def read_on(self) -> list[Any]:
        """Return what came since the last time."""
        found: list[Any] = []
        for message in self._consumer.consume(5_000, 0.05):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.fatal() or error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise AssertionError(str(error))
        return found

    def read_all(self, seconds: float = 30.0) -> list[Any]:
        """Return what came since the last time, at least up to the present ends."""
        ends = {
            one: self._consumer.get_watermark_offsets(TopicPartition(self._topic, one), timeout=seconds)[1]
            for one in range(self._partitions)
        }
        found: list[Any] = []

        def there() -> bool:
            found.extend(self.read_on())
            at = self._consumer.position([TopicPartition(self._topic, one) for one in ends])
            return all(max(one.offset, 0) >= ends[one.partition] for one in at)

        until(there, seconds, f"{self._topic} is read to its ends {ends}")
        return found

    def close(self) -> None:
        self._consumer.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tally:
    """All results so far."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = Reader(service, "results", service.partitions)
        self.results: list[dict[str, Any]] = []
        self.times: list[int] = []
        """When each was produced, milliseconds."""
        self._partitions: list[int] = []
        self._effects: Counter[Effect] = Counter()
        self._runs: Counter[str] = Counter()
        self._last: dict[tuple[str, str], int] = {}
        self._out_of_order: list[str] = []

    def count(self) -> int:
        """Read on; return how many results there are."""
        self._take(self._reader.read_on())
        return len(self.results)

    def at_least(self, results: int, seconds: float = 30.0) -> None:
        """Return once there are so many results."""
        until(lambda: self.count() >= results, seconds, f"there are {results} results", else_show=self._service.tails)

    def _take(self, messages: list[Any]) -> None:
        for message in messages:
            result = json.loads(message.value())
            assert message.key().decode() == result["run_id"]
            self.results.append(result)
            self.times.append(message.timestamp()[1])
            self._partitions.append(message.partition())
            self._runs[result["run_id"]] += 1
            workflow, key = result["workflow_id"], result["key"]
            for number in _numbers(result):
                self._effects[workflow, number] += 1
                if key is None or workflow not in ORDERED:
                    continue
                if self._last.get((workflow, key), -1) > number:
                    self._out_of_order.append(f"{workflow} {key}: {self._last[workflow, key]} before {number}")
                self._last[workflow, key] = number

    def verdict(self, load: Load) -> Verdict:
        """Judge what is there now, read to the ends."""
        self._take(self._reader.read_all())
        expected = load.expected
        return Verdict(
            results=len(self.results),
            lost=expected - self._effects.keys(),
            doubled={effect for effect, times in self._effects.items() if times > 1},
            strangers=self._effects.keys() - expected,
            repeated_runs={run for run, times in self._runs.items() if times > 1},
            out_of_order=self._out_of_order,
            statuses=Counter(result["status"] for result in self.results),
        )

    def complete(self, load: Load, seconds: float = 60.0) -> None:
        """Return once every event has its result."""

        def there() -> bool:
            self.count()
            return load.expected <= self._effects.keys()

        def missing() -> str:
            lost = sorted(load.expected - self._effects.keys())
            return f"{len(lost)} of {len(load.expected)} are missing: {lost[:10]}\n{self._service.tails()}"

        until(there, seconds, "every event has its result", else_show=missing)

    def confirm(self, load: Load, seconds: float = 60.0) -> Verdict:
        """Wait for every result, then judge. Raises AssertionError unless each event has exactly one."""
        self.complete(load, seconds)
        verdict = self.verdict(load)
        assert verdict.right, f"{verdict}\n{self._service.tails()}"
        return verdict

    def longest_silence(self, since_ms: int, until_ms: int) -> float:
        """Return the longest time that any partition was without a result in `[since_ms, until_ms]`, in seconds."""
        inside: dict[int, list[int]] = {one: [since_ms] for one in range(self._service.partitions)}
        for at, partition in sorted(zip(self.times, self._partitions, strict=True)):
            if since_ms <= at <= until_ms:
                inside[partition].append(at)
        gaps = (after - before for times in inside.values() for before, after in pairwise([*times, until_ms]))
        return max(gaps, default=0) / 1000

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> "Tally":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _numbers(result: dict[str, Any]) -> list[int]:
    if result["status"] == "completed":
        return list(result["result"]["n"])
    return [int(event["id"].removeprefix("e")) for event in result["events"]]


def dead_letters(service: Service) -> list[dict[str, Any]]:
    """Return all dead letters, in no order. A crash may repeat one: repeats are the same bytes."""
    with Reader(service, "dlq", 8) as reader:
        return [json.loads(value) for value in dict.fromkeys(message.value() for message in reader.read_all())]

"""Counts results as any consumer sees them: read_committed, from the beginning, without a group."""

import json
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from tests.e2e.load import Load
from tests.e2e.service import Service
from tests.e2e.waiting import until

ORDERED: Final = ("fast", "slow", "threaded", "flaky", "twin_a", "twin_b", "chain")
"""Workflows whose results of one key come in the order of its events."""
ENDS: Final = {"rejecting": "rejected", "cancelled": "cancelled"}
"""How runs of workflows end that do not complete."""
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
    wrong: list[str]
    """Runs that ended in another way than they were to."""
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def right(self) -> bool:
        wrong = self.lost or self.doubled or self.strangers or self.repeated_runs or self.out_of_order or self.wrong
        return not wrong

    def __str__(self) -> str:
        return (
            f"{self.results} results; lost {len(self.lost)} {sorted(self.lost)[:5]}, doubled {len(self.doubled)} "
            f"{sorted(self.doubled)[:5]}, of no event {sorted(self.strangers)[:5]}, run ids twice "
            f"{sorted(self.repeated_runs)[:5]}, out of order {self.out_of_order[:5]}, wrong {self.wrong[:5]}"
        )


class Reader:
    """Reads a topic from the beginning, again and again a little further."""

    def __init__(self, service: Service, topic: str, partitions: int, *, foreign: bool = False) -> None:
        """`foreign`: the topic is none of the service's own, and has its full name."""
        self._topic = topic if foreign else service.topic(topic)
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


class Results:
    """All results so far, whatever their workflows are."""

    def __init__(self, service: Service) -> None:
        self._reader = Reader(service, "results", service.partitions)
        self.all: list[dict[str, Any]] = []

    def read_on(self) -> list[dict[str, Any]]:
        """Return all results that there are by now."""
        self.all.extend(json.loads(message.value()) for message in self._reader.read_on())
        return self.all

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()


class Tally:
    """All results so far of the workflows under test, counted."""

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
        self._wrong: list[str] = []

    def count(self) -> int:
        """Read on; return how many results there are."""
        self._take(self._reader.read_on())
        return len(self.results)

    @property
    def effects(self) -> Set[Effect]:
        """What there is a result of."""
        return self._effects.keys()

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
            if result["status"] != ENDS.get(workflow, "completed"):
                self._wrong.append(f"{result['run_id']} {result['status']}: {result['error']}")
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
            wrong=self._wrong,
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
    named = [event["id"].removeprefix("e") for event in result["events"]]
    return [int(one) if one.isdecimal() else -1 for one in named]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What `headgate.runs` says, read to its ends."""

    events: dict[str, str]
    """Runs that began, with their first events."""
    open: set[str]
    """Runs that began and have not ended."""
    stuck: dict[str, str]
    """Runs whose functions did not fit their records, at any time, and why."""
    waiting: set[tuple[str, str]]
    """Steps by run and key that have waited for something."""
    ended: dict[tuple[str, str], int]
    """Steps by run and key: when their end was journaled, milliseconds."""
    twice: list[str]
    """Beginnings and ends, of runs and of steps, that were told twice."""


def facts_of(service: Service) -> Facts:
    """Return what the runs of a service have come to."""
    events: dict[str, str] = {}
    begun: Counter[str] = Counter()
    over: Counter[str] = Counter()
    ends: Counter[tuple[str, str]] = Counter()
    stuck: dict[str, str] = {}
    waiting: set[tuple[str, str]] = set()
    ended: dict[tuple[str, str], int] = {}
    with Reader(service, "runs", service.partitions) as reader:
        for message in reader.read_all():
            fact = json.loads(message.value())
            match fact["fact"]:
                case "run_started":
                    begun[fact["run_id"]] += 1
                    events[fact["run_id"]] = fact["events"][0]["id"]
                case "run_finished":
                    over[fact["run_id"]] += 1
                case "run_stuck":
                    stuck[fact["run_id"]] = fact["error"]["message"]
                case "step_waiting":
                    waiting.add((fact["run_id"], fact["step"]))
                case "step_finished":
                    step = (fact["run_id"], fact["step"])
                    ends[step] += 1
                    ended.setdefault(step, int(datetime.fromisoformat(fact["at"]).timestamp() * 1000))
    twice = [str(one) for counted in (begun, over, ends) for one, times in counted.items() if times > 1]
    return Facts(events=events, open=begun.keys() - over.keys(), stuck=stuck, waiting=waiting, ended=ended, twice=twice)


def dead_letters(service: Service) -> list[dict[str, Any]]:
    """Return all dead letters, in no order. A crash may repeat one: repeats are the same bytes."""
    with Reader(service, "dlq", 8) as reader:
        return [json.loads(value) for value in dict.fromkeys(message.value() for message in reader.read_all())]

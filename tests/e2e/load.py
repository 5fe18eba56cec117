"""Numbered events of all kinds, at a steady rate, by two producers whose partitioners disagree."""

import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from tests.e2e.service import Service

CAUSES: Final[Mapping[str, tuple[str, ...]]] = {
    "fast": ("fast",),
    "slow": ("slow",),
    "unordered": ("unordered",),
    "threaded": ("threaded",),
    "flaky": ("flaky",),
    "batched": ("batched",),
    "patient": ("patient",),
    "by_key": ("by_key",),
    "twins/1": ("twin_a", "twin_b"),
    "chain": ("chain", "chained"),
    "stepping": ("stepping",),
    "asking": ("asking", "asked"),
    "rejecting": ("rejecting",),
    "gated": ("gated",),
}
"""Logical topic after `load/` -> the workflows that have a result of each event."""
STEADY: Final = tuple(kind for kind in CAUSES if kind not in ("patient", "gated"))
_KEYS: Final = 40


class Load:
    """Produces events and remembers what each must cause: `expected` has (workflow, number)."""

    def __init__(self, service: Service, *, seed: int = 1) -> None:
        self.expected: set[tuple[str, int]] = set()
        self.produced = 0
        self.duplicates = 0
        self._topic = service.topic("events")
        self._random = random.Random(seed)
        self._refused: list[KafkaError] = []
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        common = {
            "bootstrap.servers": service.bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.timeout.ms": 300_000,
            "logger": _Silent(),
        }
        # The second one puts a quarter of the keys where they do not belong: those events are forwarded.
        self._producers = [
            Producer(common | {"partitioner": partitioner}) for partitioner in ("murmur2_random", "consistent_random")
        ]

    def send(self, kind: str, *, key: int | None = None, **data: object) -> int:
        """Produce one event; return its number."""
        number = self.produced
        self.produced += 1
        self._produce(kind, number, key, data)
        self.expected.update((workflow, number) for workflow in CAUSES[kind])
        return number

    def send_many(self, count: int, kinds: Sequence[str] = STEADY) -> None:
        """Produce `count` events of all kinds: half of them with keys, one in ten twice."""
        for _ in range(count):
            kind = self._random.choice(kinds)
            key = self._random.randrange(_KEYS) if self._random.random() < 0.5 else None
            number = self.send(kind, key=key)
            if self._random.random() < 0.1:
                self.duplicates += 1
                self._produce(kind, number, key, {})

    def _produce(self, kind: str, number: int, key: int | None, data: Mapping[str, object]) -> None:
        body = {"topic": f"load/{kind}", "id": f"e{number}", "data": {"n": number, **data}}
        # One producer for a key, so that its events are in order in Kafka.
        producer = self._producers[(number if key is None else key) % 2]
        producer.produce(
            self._topic,
            json.dumps(body).encode(),
            key=None if key is None else f"k{key}".encode(),
            on_delivery=self._delivered,
        )
        producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)

    def acknowledged(self, seconds: float = 60.0) -> None:
        """Return once the broker has everything."""
        for producer in self._producers:
            assert producer.flush(seconds) == 0, "the broker has not acknowledged all events"
        assert not self._refused, f"the broker refused events: {self._refused[:3]}"

    # --- steady load ------------------------------------------------------------------------------------------------

    def start(self, *, per_second: float, kinds: Sequence[str] = STEADY) -> "Load":
        """Produce on and on, until `stop`."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._go_on, args=(per_second, kinds), name="load")
        self._thread.start()
        return self

    def _go_on(self, per_second: float, kinds: Sequence[str]) -> None:
        began, sent = time.monotonic(), 0
        while not self._stopping.wait(0.02):
            due = int((time.monotonic() - began) * per_second) - sent
            self.send_many(due, kinds)
            sent += due
            for producer in self._producers:
                producer.poll(0)

    def stop(self) -> None:
        """End the steady load, once the broker has all of it."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.acknowledged()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        for producer in self._producers:
            producer.purge()
            producer.flush(5.0)


class _Silent:
    """What librdkafka has to say of a killed broker is known here."""

    def log(self, *_args: object, **_kwargs: object) -> None: ...

"""Numbered events of all kinds, at a steady rate, by two producers whose partitioners disagree.

Some runs wait for a second event. It is sent once the broker has the first one, so that it is later in time, at once or
a while after that: before, during and after the registration of the wait.
"""

import json
import queue
import random
import threading
import time
from collections.abc import Mapping, Sequence
from functools import partial
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
    "keyed": ("keyed",),
    "keyless": ("keyless",),
    "vain": ("vain",),
    "parent": ("parent", "child", "nephew"),
    "suspended": ("suspended", "resuming"),
    "cancelled": ("cancelled",),
    "bulky": ("bulky",),
    "rejecting": ("rejecting",),
    "gated": ("gated",),
    "hangs": (),
}
"""Logical topic after `load/` -> the workflows that have a result of each event."""
STEADY: Final = tuple(kind for kind in CAUSES if kind not in ("patient", "gated", "bulky", "hangs"))
WAITED_FOR: Final[Mapping[str, tuple[str, str | None]]] = {
    "keyed": ("letters/keyed", "a{}"),
    "keyless": ("letters/{}", None),
    "cancelled": ("load/cancel", "c{}"),
}
"""Kind of event -> topic and key of the one that its run waits for, with the number of the first. No key: any."""
LATEST_SECONDS: Final = 2.0
_KEYS: Final = 40


class Load:
    """Produces events and remembers what each must cause: `expected` has (workflow, number)."""

    def __init__(self, service: Service, *, seed: int = 1) -> None:
        self.expected: set[tuple[str, int]] = set()
        self.produced = 0
        self.duplicates = 0
        self._topic = service.topic("events")
        self._random = random.Random(seed)
        self._one_at_a_time = threading.Lock()
        self._refused: list[KafkaError] = []
        self._followers: queue.PriorityQueue[tuple[float, str, int]] = queue.PriorityQueue()
        """When which run gets what it waits for."""
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
        with self._one_at_a_time:
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
            # Not of what is followed: that must be later than the event which starts the run, whichever copy it is.
            if kind not in WAITED_FOR and self._random.random() < 0.1:
                self.duplicates += 1
                self._produce(kind, number, key, {})

    def _produce(self, kind: str, number: int, key: int | None, data: Mapping[str, object]) -> None:
        name = f"c{number}" if kind == "cancelled" else None if key is None else f"k{key}"
        # One producer for a key, so that its events are in order in Kafka.
        producer = self._producers[(number if key is None or kind == "cancelled" else key) % 2]
        self._put(producer, f"load/{kind}", number, name, data, kind=kind)

    def _put(
        self,
        producer: Producer,
        topic: str,
        number: int,
        key: str | None,
        data: Mapping[str, object],
        *,
        kind: str = "",
        after: str = "",
    ) -> None:
        """Produce an event; `kind`: it is followed by another one, `after`: it follows one of that kind."""
        producer.produce(
            self._topic,
            json.dumps({"topic": topic, "id": f"e{number}{after}", "data": {"n": number, **data}}).encode(),
            key=None if key is None else key.encode(),
            on_delivery=partial(self._delivered, kind=kind, number=number),
        )
        producer.poll(0)

    def _follow(self) -> None:
        """Send what runs wait for, as far as its time has come."""
        while True:
            try:
                due, kind, number = one = self._followers.get_nowait()
            except queue.Empty:
                return
            if due > time.monotonic():
                self._followers.put(one)
                return
            topic, key = WAITED_FOR[kind]
            name = self._random.choice([None, f"k{number % _KEYS}"]) if key is None else key.format(number)
            # The event that cancels must not overtake the one that starts the run: same producer, same partition.
            producer = self._producers[number % 2]
            self._put(producer, topic.format(number), number, name, {}, after=f"-{kind}")

    def _delivered(self, error: KafkaError | None, _message: Message, *, kind: str, number: int) -> None:
        if error is not None:
            self._refused.append(error)
        elif kind in WAITED_FOR:
            later = self._random.choice((0.0, 0.0, 0.2, self._random.uniform(0.0, LATEST_SECONDS)))
            self._followers.put((time.monotonic() + later, kind, number))

    def acknowledged(self, seconds: float = 60.0) -> None:
        """Return once the broker has everything, also what runs wait for."""
        while True:
            for producer in self._producers:
                assert producer.flush(seconds) == 0, "the broker has not acknowledged all events"
            if self._followers.empty():
                break
            self._follow()
            self._producers[0].poll(0.02)
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
            self._follow()

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

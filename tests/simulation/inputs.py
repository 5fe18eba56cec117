"""Events as anyone may produce them: every form, right and wrong partitioners, repeats, transactions, and rubbish."""

from collections.abc import Sequence
from random import Random
from typing import Any

import orjson

from app.kafka.log import Entry, Producer
from app.kafka.memory_cluster import MemoryCluster
from tests.simulation.loop import SimLoop
from tests.simulation.programs import TOPICS
from topics import keys

_RUBBISH = (b"not json", b"", None, b"[]", b'{"topic": 7, "data": 1}', b'{"data": 1}', b"\xff\xfe", b'{"topic": "x"}')


class Inputs:
    """The producers of a scenario."""

    def __init__(
        self,
        cluster: MemoryCluster,
        random: Random,
        partitions: int,
        *,
        repeats: float,
        topics: Sequence[str] = TOPICS,
        batches: Sequence[int] = (5, 10, 20),
    ) -> None:
        self._cluster = cluster
        self._random = random
        self._partitions = partitions
        self._repeats = repeats
        self._topics = topics
        self._batches = batches
        self._count = 0
        self._sent: list[tuple[Entry, str | None]] = []
        self.keys = [f"k{number}" for number in range(random.choice((1, 2, 4)))]
        self._transactions = 0
        self._wrong = random.choice((0.0, 0.25, 0.6))
        self._keyed = random.choice((0.3, 0.7, 1.0))

    def plan(self, loop: SimLoop, until: float) -> None:
        """Let batches of events come until then."""
        random = self._random
        for _ in range(random.choice(self._batches)):
            loop.call_at(random.random() * until, self._batch, loop)

    def _batch(self, loop: SimLoop) -> None:
        random = self._random
        made = [self._event() for _ in range(random.choice((1, 1, 2, 4, 9)))]
        by_partition: dict[int, list[Entry]] = {}
        for entry, home_text in made:
            by_partition.setdefault(self._partition(home_text), []).append(entry)
        transactional = random.random() < 0.12
        for number, entries in by_partition.items():
            if not transactional:
                self._cluster.produce("events", number, entries)
                continue
            self._transactions += 1
            producer = Producer(50_000 + self._transactions, 0)
            self._cluster.produce("events", number, entries, producer=producer, transactional=True)
            loop.call_later(random.random() * 0.2, self._end, number, producer, random.random() < 0.7)

    def _end(self, number: int, producer: Producer, commit: bool) -> None:
        where = self._cluster.partition("events", number)
        where.end_transaction(producer, 0, commit=commit)
        assert self._cluster.on_append is not None
        self._cluster.on_append(where, None, (), where.end)

    def _partition(self, home_text: str | None) -> int:
        random = self._random
        if home_text is None or random.random() < self._wrong:
            return random.randrange(self._partitions)
        return keys.partition_of(home_text.encode(), self._partitions)

    def _event(self) -> tuple[Entry, str | None]:
        """Return a record, and the text whose partition is its home."""
        random = self._random
        chance = random.random()
        if chance < 0.05:
            return Entry(random.choice((None, b"k", b"\xff")), random.choice(_RUBBISH), ()), None
        if chance < 0.05 + self._repeats and self._sent:
            return random.choice(self._sent)
        self._count += 1
        number = self._count
        key = random.choice(self.keys) if random.random() < self._keyed else None
        event_id = f"e{number}" if random.random() < 0.5 else None
        topic = random.choice(self._topics)
        data: dict[str, Any] = {"n": number}
        if random.random() < 0.02:
            data["pad"] = "x" * 3_000  # above the limit of an event
        form = random.randrange(5)
        headers: list[tuple[str, bytes | None]] = []
        record_key = None
        if form == 0:
            body: dict[str, Any] = {"name": topic, "payload": data}
        elif form == 1:
            headers = [("topic", topic.encode())]
            body = data
        elif form == 2:
            body = {"specversion": "1.0", "id": event_id or f"ce{number}", "source": "/s", "type": "t"}
            body |= {"topic": topic, "data": data}
            event_id = body["id"]
        else:
            body = {"topic": topic, "data": data, "event_type": "t"}
        if event_id is not None and form != 2:
            if form == 1 or random.random() < 0.3:
                headers.append(("id", event_id.encode()))
            else:
                body["id"] = event_id
        if key is not None:
            where = random.randrange(3)
            if where == 0 or form in (1, 2):
                record_key = key.encode()
            elif where == 1:
                body["key"] = key
            else:
                headers.append(("key", key.encode()))
        if random.random() < 0.04:
            headers.append(("reply_topic", random.choice((b"replies", b"nowhere", b"forbidden"))))
            headers.append(("correlation_id", b"c%d" % number))
        made = Entry(record_key, orjson.dumps(body), tuple(headers)), key or event_id
        if event_id is not None:
            self._sent.append(made)
        return made

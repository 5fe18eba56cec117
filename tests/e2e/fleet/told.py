"""What came of the events of a fleet: their results as they come, and at the end what `headgate.events` has."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tests.e2e.fleet.world import World
from tests.e2e.service import Service
from tests.e2e.tally import Reader
from topics.provenance import INSTANCE

TOPIC: Final = "fleet"


class Told:
    """Counts results by source and number."""

    def __init__(self, service: Service, worlds: Mapping[str, World]) -> None:
        self._service, self._worlds = service, worlds
        self._reader = Reader(service, "results", service.partitions)
        self.times: dict[str, dict[int, float]] = {name: {} for name in worlds}
        """By source and number: when its first result was written, in seconds since 1970."""
        self.results: dict[str, Counter[int]] = {name: Counter() for name in worlds}
        self.topics: dict[str, str] = {}
        """The topic of the newest event of each source."""
        self.newest: dict[str, float] = dict.fromkeys(worlds, 0.0)
        """When the newest event of each source happened."""
        self.wrong: list[str] = []
        """Runs that ended in another way than they were to."""

    def read_on(self) -> None:
        """Take what came since the last time."""
        for message in self._reader.read_on():
            result = orjson.loads(message.value())
            if result["status"] != "completed":
                self.wrong.append(f"{result['run_id']} {result['status']}: {result['error']}")
                continue
            self._take(result["result"], message.timestamp()[1] / 1000)

    def _take(self, result: Mapping[str, Any], at: float) -> None:
        name = result["topic"].split("/")[1]
        number = self._worlds[name].number({"data": result["data"]})
        self.times[name].setdefault(number, at)
        self.results[name][number] += 1
        self.topics[name] = result["topic"]
        self.newest[name] = max(self.newest[name], self._worlds[name].happened_at(number))

    def doubled(self, name: str) -> dict[int, int]:
        """Return the numbers of a source that have more than one result."""
        return {number: count for number, count in self.results[name].items() if count > 1}

    def first_after(self, name: str, since: float) -> float | None:
        """Return how long after `since` the first result of an event came that happened then or later."""
        happened_at = self._worlds[name].happened_at
        return min((at for number, at in self.times[name].items() if happened_at(number) >= since), default=None)

    def records(self) -> dict[str, tuple[int, int]]:
        """Return for each source how many records of `headgate.events` are its, and how many ids they have."""
        ids: dict[str, set[tuple[str, bytes | None]]] = {name: set() for name in self._worlds}
        count: Counter[str] = Counter()
        with Reader(self._service, "events", self._service.partitions) as reader:
            for message in reader.read_all(120.0):
                name = dict(message.headers() or ()).get(INSTANCE, b"").decode()
                count[name] += 1
                ids[name].add((orjson.loads(message.value())["id"], message.key()))
        return {name: (count[name], len(found)) for name, found in ids.items()}

    def close(self) -> None:
        self._reader.close()

"""What the topics hold when everything is quiet: events by what they say, results, dead letters, facts."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from app.engine.tables.run import Run
from tests.simulation.people import COPIED
from tests.simulation.plans import Op
from tests.simulation.programs import TICK
from tests.simulation.scenario import Scenario
from tests.simulation.violation import Violation
from topics import codec, keys
from topics.envelope import Envelope


@dataclass(slots=True)
class Identity:
    """One event, and all the records that say it."""

    home: int
    copies: list[Envelope] = field(default_factory=list)

    @property
    def event(self) -> Envelope:
        return self.copies[0]


@dataclass(slots=True)
class Result:
    partition: int
    at: int
    value: dict[str, Any]
    events: list[tuple[int, int]]

    @property
    def workflow(self) -> str:
        return str(self.value["workflow_id"])


class Logs:
    """Of one scenario."""

    def __init__(self, sim: Scenario) -> None:
        self.sim = sim
        self.programs = {one.id: one for one in sim.programs}
        self.identities: dict[bytes, Identity] = {}
        self.by_place: dict[tuple[int, int], bytes] = {}
        self.malformed: dict[tuple[int, int], str] = {}
        self.known: dict[int, dict[str, int]] = {}
        self._read_events()
        results = list(self._results())
        letters = [
            orjson.loads(one.value)
            for number in range(sim.cluster.count("dlq"))
            for one in sim.cluster.read("dlq", number)
            if one.value is not None
        ]
        self.results = [one for one in results if one.workflow != TICK]
        self.letters = [one for one in letters if one["workflow_id"] != TICK]
        self.ticks = [one for one in results if one.workflow == TICK]
        self.tick_letters = [one for one in letters if one["workflow_id"] == TICK]
        self.ended = {one.value["run_id"]: one for one in results}
        """Results by the ids of their runs."""
        self.called = {run: [one.rpartition("/")[0] for one in events] for _, _, run, _, events in sim.seen.calls}
        """Where the events of each run are that was called."""
        self.waiting: dict[str, Run] = {}
        """Runs that wait, for nothing that has an end."""
        for number in range(sim.partitions):
            worker = next(one for one in sim.workers.values() if not one.process.dead and number in one.partitions)
            pump = worker.partitions.pump(number)
            assert pump is not None
            self.known[number] = pump.state.known
            self.waiting |= {one.id: one for one in pump.state.runs.values()}
            sim.journals.compare(pump.state, marks=False)
        if sim.problem is not None:
            raise sim.problem

    def _read_events(self) -> None:
        published: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for number in range(self.sim.partitions):
            for one in self.sim.cluster.read("events", number):
                try:
                    event = codec.decode(
                        one.value,
                        one.key,
                        one.headers,
                        partition=number,
                        offset=one.offset,
                        timestamp_ms=one.timestamp,
                        max_bytes=self.sim.shape.bounds.event_bytes,
                    )
                except codec.Malformed as error:
                    self.malformed[number, one.offset] = error.code
                    continue
                digest = keys.digest_of(event)
                home = keys.home_of(event, self.sim.partitions)
                self.identities.setdefault(digest, Identity(home)).copies.append(event)
                self.by_place[number, one.offset] = digest
                names = {name for name, _ in one.headers}
                if "causation_id" in names and COPIED not in names:
                    published[event.id].add((one.key, one.value, tuple(one.headers), number))
        for event_id, forms in published.items():
            if len(forms) > 1 and not self.sim.tight_dedup:  # a forgotten event runs again, under the same ids
                raise Violation(f"event {event_id} was published in {len(forms)} forms: {forms}")

    def _results(self) -> Iterator[Result]:
        for number in range(self.sim.partitions):
            for one in self.sim.cluster.read("results", number):
                if one.value is None:
                    continue
                value = orjson.loads(one.value)
                yield Result(
                    number, one.offset, value, [(event["partition"], event["offset"]) for event in value["events"]]
                )

    def at(self, place: tuple[int, int]) -> Envelope:
        return next(one for one in self.identities[self.by_place[place]].copies if (one.partition, one.offset) == place)

    def events_of(self, run: str) -> list[Envelope]:
        """Return the events of a run that was called."""
        places = [one.rpartition("-") for one in self.called[run]]
        return [self.at((int(partition), int(offset))) for partition, _, offset in places]

    def op(self, run: str, key: str) -> Op:
        """Return what a step of a run asks for."""
        return self.sim.plans[run.partition(":")[0]].ops[key]

    def facts(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(one.value)
            for number in range(self.sim.partitions)
            for one in self.sim.cluster.read("runs", number)
            if one.value is not None
        ]

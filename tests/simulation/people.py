"""Those who steer runs: they cancel some, let stuck ones go on, and produce events again that came before."""

from random import Random
from typing import TYPE_CHECKING, Final

import orjson

from app.engine.tables.run import RunStatus
from app.kafka.log import Entry
from tests.simulation.programs import CANCELS
from topics import keys, reserved

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

MEND_SECONDS: Final = 0.7
"""How often somebody looks for stuck runs."""
COPIED: Final = "copied"
"""A header of what is produced again."""


class People:
    """Of one scenario; before `plan` they do nothing."""

    def __init__(self, sim: "Scenario", random: Random) -> None:
        self._sim = sim
        self._random = random
        self._cancels = random.choice((0.0, 0.03, 0.1))
        """How often somebody cancels a run at a step that it asks for."""
        self._runs: list[str] = []
        self._at_work = False

    def plan(self, until: float) -> None:
        """Come and go until then."""
        self._at_work = True
        loop, random = self._sim.loop, self._random
        for _ in range(random.choice((0, 2, 5))):
            loop.call_at(random.random() * until, self._produce_again)
        for _ in range(random.choice((0, 0, 2))):
            loop.call_at(random.random() * until, self._retry_any)
        loop.call_at(until + MEND_SECONDS, self._mend)

    def see(self, run: str) -> None:
        """A run asks for a step for the first time."""
        self._runs.append(run)
        random = self._random
        if self._at_work and random.random() < self._cancels:
            wait = random.choice((0.0, 0.0, 0.001, 0.01, 0.1, 0.5, 2.0)) * (0.5 + random.random())
            self._sim.watch.coming += 1
            loop = self._sim.loop
            loop.call_at_in(loop.root, loop.time() + wait, self._cancel, run)

    def _cancel(self, run: str) -> None:
        self._sim.watch.coming -= 1
        event_id = f"x{len(self._runs)}-{self._random.random()}" if self._random.random() < 0.5 else None
        entry = self._wish(reserved.CANCEL, run, event_id) if self._random.random() < 0.6 else _tombstone(run)
        for _ in range(self._random.choice((1, 1, 1, 2))):
            self._produce(run, entry)

    def cancel_what_waits(self) -> bool:
        """Everything is quiet: cancel some of the runs that wait still. Return whether there are any."""
        sim, random = self._sim, self._random
        alive = [one for one in sim.workers.values() if not one.process.dead]
        states = [pump.state for worker in alive for pump in worker.partitions.pumps()]
        some = [run for state in states for run in sorted(state.runs) if random.random() < 0.7]
        cancelled_by_key = {one.id for one in sim.programs if one.cancel_on}
        for run in some:
            if run.partition(":")[0] in cancelled_by_key and random.random() < 0.5:
                for key in sim.inputs.keys:
                    entry = Entry(key.encode(), orjson.dumps({"topic": CANCELS, "data": None}), ())
                    sim.cluster.produce("events", random.randrange(sim.partitions), [entry])
            else:
                sim.watch.coming += 1
                self._cancel(run)
        return bool(some)

    def _retry_any(self) -> None:
        """Somebody wants a run to go on that is not stuck, or is, but its code does not fit yet."""
        if self._runs:
            self._retry(self._random.choice(self._runs))

    def _retry(self, run: str) -> None:
        self._produce(run, self._wish(reserved.RETRY, run, None))

    def _mend(self) -> None:
        """Once the right code is everywhere, let go on what is stuck."""
        sim = self._sim
        current = set(sim.workflows.values())
        alive = [one for one in sim.workers.values() if not one.process.dead and hasattr(one, "partitions")]
        if all(current.issuperset(one.workflows) for one in alive):
            for worker in alive:
                for pump in worker.partitions.pumps():
                    for run in sorted(pump.state.stuck):
                        if pump.state.runs[run].status is RunStatus.STUCK:
                            self._retry(run)
        sim.loop.call_at_in(sim.loop.root, sim.loop.time() + MEND_SECONDS, self._mend)

    def _produce_again(self) -> None:
        """Somebody produces an event again, to the same partition: it is the same one, by its id."""
        sim = self._sim
        number = self._random.randrange(sim.partitions)
        there = [
            one
            for one in sim.cluster.read("events", number)
            if one.value is not None and any(name == "causation_id" for name, _ in one.headers)
        ]
        if there:
            one = self._random.choice(there)
            sim.cluster.produce("events", number, [Entry(one.key, one.value, (*one.headers, (COPIED, b"1")))])

    def _wish(self, topic: str, run: str, event_id: str | None) -> Entry:
        body = {"topic": topic, "data": None} | ({} if event_id is None else {"id": event_id})
        if self._random.random() < 0.5:
            return Entry(run.encode(), orjson.dumps(body), ())
        return Entry(None, orjson.dumps(body | {"key": run}), ())

    def _produce(self, run: str, entry: Entry) -> None:
        partitions = self._sim.partitions
        home = keys.partition_of(run.encode(), partitions)
        number = home if self._random.random() < 0.6 else self._random.randrange(partitions)
        self._sim.cluster.produce("events", number, [entry])


def _tombstone(run: str) -> Entry:
    return Entry(run.encode(), None, ())

"""What the journals say of who owns them, round by round; and that each defines exactly the state of its owner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from app.engine.journal import restore as restoring
from app.engine.journal.entities import event_of
from app.engine.tables.counters import Counters
from app.engine.tables.state import State
from app.kafka.log import Entry, Producer
from app.kafka.memory_cluster import MemoryPartition
from tests.simulation import programs
from tests.simulation.canonical import canonical, difference
from tests.simulation.worker import Worker
from topics import journal, keys
from topics.envelope import Envelope

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario


@dataclass(slots=True)
class Owner:
    """Who holds the fence of a journal, as the log shows it."""

    producer: Producer
    worker: str = ""
    since_ms: int = 0
    """When its process claimed the partition, which nobody else has claimed since then."""
    settled: bool = False
    """Whether it has written anything but its claim."""
    head: dict[str, Any] | None = None
    fresh: bool = False
    """Whether the round of `head` was not looked at yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A round of the partition that is the schedule's home."""

    owner: Producer
    owned_since_ms: int
    has_code: bool
    now_ms: int
    told: dict[str, Any] | None
    """What the journal says from it on of how far the schedule was followed; None: what it said before."""


class Journals:
    """Those of a scenario. With `every`, the state after each so many-th round is compared with what is restored."""

    def __init__(self, sim: "Scenario", every: int) -> None:
        self._sim = sim
        self._every = every
        self._rounds = 0
        self.owners: dict[int, Owner] = {}

    def is_owner(self, number: int) -> bool:
        """Whether the process that goes on now is, as the log has it, the owner of a partition."""
        owner = self.owners.get(number)
        return owner is not None and owner.worker == self._sim.loop.current.name

    def owns(self, run: str) -> bool:
        """Whether the process that goes on now is, as the log has it, the owner of the partition of a run."""
        process = self._sim.loop.current.name
        worker = next((one for one in self._sim.workers.values() if one.name == process), None)
        pumps = () if worker is None else worker.partitions.pumps()
        owned = [pump.partition for pump in pumps if run in pump.state.runs]
        return any(self.owners[number].worker == process for number in owned)

    def appended(self, where: MemoryPartition, producer: Producer | None, entries: Sequence[Entry]) -> None:
        """An owner wrote to its journal or its outputs."""
        if any(name == journal.FENCE_HEADER for name, _ in entries[0].headers):
            return
        assert producer is not None
        number = where.number
        if entries[0].key == journal.CLAIM:
            before = self.owners.get(number)
            claim = orjson.loads(entries[0].value or b"")
            stays = before is not None and before.worker == claim["worker"]
            self.owners[number] = Owner(
                producer,
                claim["worker"],
                since_ms=before.since_ms if before is not None and stays else self._sim.now_ms(),
                head=None if before is None else before.head,
            )
            self._sim.watch.claimed(number)
            return
        owner = self.owners.get(number)
        if owner is None or owner.producer != producer:
            # A claim under a producer id that the broker had forgotten shuts out nobody yet: its owner sees that there
            # was another one, and claims again before it does anything.
            if owner is None or owner.settled or owner.producer.producer_id == producer.producer_id:
                self._sim.broken(f"{where.topic}-{number} took an append of {producer}, but {owner} has the partition")
                return
        else:
            owner.settled = True
        if where.topic != "journal":
            return
        self._sim.watch.appended(number, entries)
        followed: dict[str, Any] | None = None
        for key, value, _ in entries:
            if key is None or value is None:
                continue
            if key.startswith(b"run:"):
                self._sim.seen.journaled.setdefault(key[4:].decode(), set())
            elif key == journal.schedule_key(programs.TICK):
                followed = orjson.loads(value)
            elif key == journal.HEAD:
                head = orjson.loads(value)
                self._check_head(number, owner.head, head)
                owner.head, owner.fresh = head, True
                if self._sim.ticks and number == keys.partition_of(programs.TICK.encode(), self._sim.partitions):
                    self._sim.seen.rounds.append(
                        Round(
                            owner=producer,
                            owned_since_ms=owner.since_ms,
                            has_code=programs.TICK in self._sim.code[owner.worker],
                            now_ms=head["now"],
                            told=followed,
                        )
                    )

    def _check_head(self, number: int, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        if before is None:
            return
        if after["r"] != before["r"] + 1:
            self._sim.broken(f"journal-{number}: round {after['r']} follows {before['r']}")
        for name in ("events", "commands", "now", "bodies", "delivered", "results_end", "runs_end"):
            if after[name] < before[name]:
                self._sim.broken(f"journal-{number}: {name} went back from {before[name]} to {after[name]}")
        for name in ("sent", "received"):
            for one, sequence in before[name].items():
                if after[name].get(one, 0) < sequence:
                    self._sim.broken(
                        f"journal-{number}: {name}[{one}] went back from {sequence} to {after[name].get(one)}"
                    )

    def observe(self, worker: Worker, _counters: Counters, state: State) -> None:
        """After a round: now and then, the journal must define exactly the state that the owner has."""
        state.counters = Counters()
        self._sim.busy_until = self._sim.loop.time() + 0.001
        owner = self.owners.get(state.partition)
        if owner is None or not owner.fresh:
            return  # nothing was journaled: what changed since is the owner's alone
        owner.fresh = False
        self._rounds += 1
        if self._rounds % self._every == 0 and not worker.process.dead:
            self.compare(state)

    def compare(self, state: State, *, marks: bool = True) -> None:
        """Restore from the journal as it is, and compare. Without `marks`, not what is delivered, nor the time."""
        owner = self.owners.get(state.partition)
        if owner is None or owner.head is None or owner.head["r"] != state.round:
            return  # a newer owner has gone on
        entities = self.entities(state.partition)
        restored = restoring.restore(entities, state.partition, self._sim.shape.limits, journal_id="journal-id-1")

        def body(number: int) -> Envelope:
            return event_of(number, entities[journal.body_key(number)])

        expected = canonical(state, marks=marks, body=body)
        found = canonical(restored.state, marks=marks, body=body)
        if state.unsaved:  # of what leaves no trace, the offsets ride along with a later round
            expected |= {name: found[name] for name in ("commands", "received", "flushes")}
        if expected != found:
            text = difference(expected, found)
            self._sim.broken(f"journal-{state.partition} does not define the state after round {state.round}: {text}")
        if restored.state.removed:
            self._sim.broken(f"journal-{state.partition} keeps {restored.state.removed} after round {state.round}")

    def entities(self, number: int) -> dict[bytes, bytes]:
        """Return what the journal holds but for its claim."""
        entities: dict[bytes, bytes] = {}
        for one in self._sim.cluster.read("journal", number):
            if one.key is None or any(name == journal.FENCE_HEADER for name, _ in one.headers):
                continue
            if one.value is None:
                entities.pop(one.key, None)
            else:
                entities[one.key] = one.value
        entities.pop(journal.CLAIM, None)
        return entities

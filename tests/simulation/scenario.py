"""One seed: workers, workflows, events and trouble; then healing, quiescence, and the model's verdict."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import orjson

from app.engine.journal import commit
from app.engine.journal import restore as restoring
from app.engine.journal.entities import event_of
from app.engine.runs import asleep
from app.engine.tables.counters import Counters
from app.engine.tables.state import Run, RunStatus, State
from app.engine.values.asks import Await, Suspend
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.waits import waits
from app.kafka.log import Entry, Fenced, LogError, Producer
from app.kafka.memory_cluster import MemoryCluster, MemoryPartition
from app.pump import lookback, recall
from app.pump.around import Bounds
from tests.simulation import programs
from tests.simulation.canonical import canonical, difference
from tests.simulation.durable import SIGNALS, Plan
from tests.simulation.group import Group
from tests.simulation.inputs import Inputs
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import SimNetwork, Weather
from tests.simulation.watch import Watch, Watched
from tests.simulation.worker import EPOCH_MS, Shape, Worker
from topics import journal
from topics.envelope import Envelope

DURABLE = 0.6
"""Share of the seeds that have durable steps."""
HEAL_SECONDS = 400.0
"""Virtual time after which a scenario that is not quiet is stuck."""


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Owner:
    """Who holds the fence of a journal, as the log shows it."""

    producer: Producer
    worker: str = ""
    settled: bool = False
    """Whether it has written anything but its claim."""
    head: dict[str, Any] | None = None
    fresh: bool = False
    """Whether the round of `head` was not looked at yet."""


@dataclass(slots=True)
class Seen:
    """What only the simulation sees."""

    calls: list[tuple[float, str, str, int, tuple[str, ...]]] = field(default_factory=list)
    """Time, workflow, run, attempt, and `sequence_id`s of the events of every call of an author's function."""
    journaled: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    """With which events owners have called the function of each run, since it was journaled."""
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    ticks_from: int | None = None
    """The time (ms) from which on the journal says that the schedule is followed."""
    trouble: list[tuple[float, str]] = field(default_factory=list)
    steps: Watched = field(default_factory=Watched)


class Scenario:
    """Everything of one seed. `run` returns after the chaos, the healing and the checks; it raises Violation."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = chance = random.Random(seed)
        self.loop = loop = SimLoop(chance.getrandbits(32))  # type: ignore[abstract] # nothing asks for the rest
        self.cluster_process = Process("cluster")
        self.weather = Weather(
            fault_rate=chance.choice((0.0, 0.0, 0.002, 0.006)), slow_rate=chance.choice((0.0, 0.01, 0.05))
        )
        self.partitions = chance.choice((1, 2, 3, 3, 4))
        self.cluster = MemoryCluster(
            self.partitions,
            now_ms=self.now_ms,
            network=SimNetwork(loop, chance, self.cluster_process, self.cluster_process, self.weather),
        )
        self.cluster.create("replies", 1)
        self.cluster.on_append = self._appended
        loop.current = self.cluster_process
        self.group = Group(loop, self.cluster_process, chance, self.partitions, static=chance.random() < 0.5)
        loop.current = loop.root
        self.tight_dedup = chance.random() < 0.15
        self.shape = self._shape(chance)
        self.programs = [programs.draw(chance, number) for number in range(chance.choice((1, 2, 3, 4)))]
        apart = random.Random(f"steps of seed {seed}")  # so that seeds without steps are what they were
        self.durable = apart.random() < DURABLE
        """Whether some of its workflows have durable steps."""
        if self.durable:
            self._make_durable(apart)
        self.plans: dict[str, Plan] = {one.id: one.plan for one in self.programs if one.plan is not None}
        """The steps of workflows, by their ids."""
        self.watch = Watch(self, apart)
        self.seen = Seen(steps=self.watch.seen)
        self.workflows = {one.id: programs.make(one, self._called, self.watch) for one in self.programs}
        apart = random.Random(f"schedule of seed {seed}")  # so that seeds without one are what they were
        self.ticks = apart.random() < 0.25
        if self.ticks:
            self.workflows[programs.TICK] = programs.ticking(apart)
        self.late = self.programs[-1].id if len(self.programs) > 1 and chance.random() < 0.3 else None
        """A workflow that is added while the system runs."""
        self.rolled = chance.choice(self.programs).id if chance.random() < 0.35 else None
        self.rolled_at = chance.uniform(0.8, 2.5)
        if self.rolled is not None and chance.random() < 0.5 and not self.durable:
            # More than there is room for slept until then.
            self.shape = replace(self.shape, bounds=replace(self.shape.bounds, held_bytes=2_000))
        """A workflow that the first worker has from its start, and the others only from then on."""
        self.announced: dict[str, Definition] = {}
        """What the topic of announcements says; workers hear of it later."""
        self.workers: dict[str, Worker] = {}
        self._disks: dict[str, dict[str, bytes]] = {}
        self._lives = 0
        self.healing = False
        self._owners: dict[int, Owner] = {}
        self._problem: Violation | None = None
        self.inputs = Inputs(
            self.cluster,
            chance,
            self.partitions,
            repeats=0.4 if self.tight_dedup else 0.15,
            topics=(*programs.TOPICS, *SIGNALS) if self.durable else programs.TOPICS,
            batches=(2, 4, 6) if self.durable else (5, 10, 20),
        )
        self._check_every = chance.choice((1, 3, 8))
        self._rounds = 0
        self._busy_until = 0.0

    def _shape(self, chance: random.Random) -> Shape:
        small = chance.random() < 0.4
        apart = random.Random(self.seed ^ 0x57A4DB1)  # so that what else a seed means stays as it was
        return Shape(
            limits=Limits(
                partitions=self.partitions,
                workflows_per_event=chance.choice((100, 100, 2)),
                batch_bytes=chance.choice((10_000, 10_000, 200)),
                dedup_ids=chance.choice((4, 4, 8, 16)) if self.tight_dedup else 100_000,
                asleep_events=chance.choice((250_000, 250_000, 250_000, 3)),
                candidates=random.Random(self.seed ^ 0xCAD1DA7E).choice((1, 2, 16)),
                retry_base_ms=60,
                retry_max_ms=300,
                reply_allowed=lambda topic: topic in ("replies", "nowhere"),
            ),
            bounds=Bounds(
                round_events=chance.choice((1, 3, 7)) if small else 500,
                event_bytes=2_000,
                running=chance.choice((1, 2, 4)) if small else 100,
                held_bytes=chance.choice((300, 1_000, 2_000, 3_000)) if chance.random() < 0.5 else 1_000_000,
                inbox_bytes=chance.choice((100, 1_000_000)),
                facts_linger_seconds=0.0 if self.seed % 4 else 0.03,
            ),
            at_hand_bytes=chance.choice((0, 0, 200, 1_000_000)),
            scan_bytes=chance.choice((8_000_000, 400)),
            commit_bytes=chance.choice((4_000_000, 4_000_000, 1_000, 1)),
            fetch_records=chance.choice((1, 3, 10)) if small else 100,
            journal_fetch_records=chance.choice((3, 50, 500)),
            results_batch_bytes=chance.choice((600, 900_000)),
            send_records=chance.choice((1, 3, 500)),
            claim_every_ms=chance.choice((3_600_000, 3_600_000, 700)),
            snapshot_every_ms=chance.choice((None, None, 300)),
            tail_ids=apart.choice((4_096, 4_096, 5, 2)),
            standby_turn_seconds=apart.choice((None, 0.02, 0.02, 0.1, 0.5, 2.0)),
            standby_turn_bytes=apart.choice((1, 300, 3_000, 4_000_000)),
            standby_most_bytes=apart.choice((5_000, 20_000, 100_000_000, 100_000_000)),
        )

    def _make_durable(self, apart: random.Random) -> None:
        """Let workflows with durable steps take the place of all others but one, perhaps."""
        limits, shape = self.shape.limits, self.shape
        self.tight_dedup = False
        self.programs = self.programs[: apart.choice((0, 0, 1))]
        self.programs += [programs.draw_durable(apart, number) for number in range(apart.choice((1, 1, 2)))]
        strict = any(one.order == "strict" for one in self.programs)
        self.shape = replace(
            shape,
            limits=replace(
                limits,
                dedup_ids=100_000,
                heads=apart.choice((256, 256, 1)),
                arrivals=apart.choice((10_000, 10_000, 2)),
            ),
            # Events that wait strictly behind a run that waits are held in memory: where they fill it, nothing is read
            # any more, not even what the run waits for.
            bounds=replace(shape.bounds, held_bytes=1_000_000) if strict else shape.bounds,
            suspended=apart.choice((10_000, 10_000, 2, 1, 1)),
            a_round=apart.choice((5_000, 5_000, 1)),
            slice_events=apart.choice((500, 500, 1)),
        )

    def disk(self, instance: str) -> dict[str, bytes]:
        return self._disks.setdefault(instance, {})

    def now_ms(self) -> int:
        return EPOCH_MS + int(self.loop.time() * 1000)

    # --- what the parts tell ----------------------------------------------------------------------------------------

    def _called(self, workflow: str, run: str, attempt: int, events: Sequence[dict[str, Any]]) -> int:
        if run in self.seen.journaled and self.owns(run):
            self.seen.journaled[run].add(tuple(f"{one['sequence_id']}/{one['id']}" for one in events))
        about = tuple(f"{one['sequence_id']}/{one['id']}" for one in events)
        self.seen.calls.append((self.loop.time(), workflow, run, attempt, about))
        return len(self.seen.calls)

    def owns(self, run: str) -> bool:
        """Whether the process that goes on now is, as the log has it, the owner of the partition of a run."""
        process = self.loop.current.name
        worker = next((one for one in self.workers.values() if one.name == process), None)
        pumps = () if worker is None else worker.partitions.pumps()
        owned = [pump.partition for pump in pumps if run in pump.state.runs]
        return any(self._owners[number].worker == process for number in owned)

    def announce(self, worker: Worker) -> None:
        """A worker says what it runs. The others hear it some time later, and so does it of what they run."""
        before = dict(self.announced)
        for one in worker.workflows:
            if one.id not in self.announced:
                self.announced[one.id] = Definition.of(one, announced_ms=self.now_ms())
                for other in self.workers.values():
                    if other is not worker and not other.process.dead and hasattr(other, "partitions"):
                        self._hear(other, self.announced[one.id])
        for definition in before.values():
            self._hear(worker, definition)

    def _hear(self, worker: Worker, definition: Definition) -> None:
        wait = self.random.choice((0.0, 0.0, 0.3, 2.0))
        self.loop.call_at_in(worker.process, self.loop.time() + wait, worker.hear, definition)

    def worker_failed(self, worker: Worker, error: BaseException) -> None:
        self.seen.failures.append((self.loop.time(), worker.name, f"{type(error).__name__}: {error}"))
        if not isinstance(error, LogError):
            self.broken(f"{worker.name} failed with {type(error).__name__}: {error}", error)
        self.kill(worker.instance)

    def worker_left(self, worker: Worker) -> None:
        worker.process.dead = True
        self._restart_later(worker.instance)

    def broken(self, what: str, cause: BaseException | None = None) -> None:
        if self._problem is None:
            self._problem = Violation(what)
            self._problem.__cause__ = cause

    def _appended(
        self, where: MemoryPartition, producer: Producer | None, entries: Sequence[Entry], offset: int
    ) -> None:
        """Watch every batch that the cluster takes."""
        if where.topic in ("events", "commands"):
            for worker in self.workers.values():
                if not worker.process.dead and hasattr(worker, "fetched"):
                    worker.fetched.set()
        elif where.topic in ("journal", "results", "runs"):
            self._check_owner(where, producer, entries)

    def _check_owner(self, where: MemoryPartition, producer: Producer | None, entries: Sequence[Entry]) -> None:
        if any(name == journal.FENCE_HEADER for name, _ in entries[0].headers):
            return
        assert producer is not None
        number = where.number
        if entries[0].key == journal.CLAIM:
            before = self._owners.get(number)
            claim = orjson.loads(entries[0].value or b"")
            self._owners[number] = Owner(producer, claim["worker"], head=None if before is None else before.head)
            self.watch.claimed(number)
            return
        owner = self._owners.get(number)
        if owner is None or owner.producer != producer:
            # A claim under a producer id that the broker had forgotten shuts out nobody yet: its owner sees that there
            # was another one, and claims again before it does anything.
            if owner is None or owner.settled or owner.producer.producer_id == producer.producer_id:
                self.broken(f"{where.topic}-{number} took an append of {producer}, but {owner} has the partition")
                return
        else:
            owner.settled = True
        if where.topic != "journal":
            return
        self.watch.appended(number, entries)
        for key, value, _ in entries:
            if key is None or value is None:
                continue
            if key.startswith(b"run:"):
                self.seen.journaled.setdefault(key[4:].decode(), set())
            elif key == journal.schedule_key(programs.TICK) and self.seen.ticks_from is None:
                self.seen.ticks_from = orjson.loads(value)["last"]
            elif key == journal.HEAD:
                head = orjson.loads(value)
                self._check_head(number, owner.head, head)
                owner.head, owner.fresh = head, True

    def _check_head(self, number: int, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        if before is None:
            return
        if after["r"] != before["r"] + 1:
            self.broken(f"journal-{number}: round {after['r']} follows {before['r']}")
        for name in ("events", "commands", "now", "bodies", "delivered", "results_end", "runs_end"):
            if after[name] < before[name]:
                self.broken(f"journal-{number}: {name} went back from {before[name]} to {after[name]}")
        for name in ("sent", "received"):
            for one, sequence in before[name].items():
                if after[name].get(one, 0) < sequence:
                    self.broken(f"journal-{number}: {name}[{one}] went back from {sequence} to {after[name].get(one)}")

    def observe(self, worker: Worker, _counters: Counters, state: State) -> None:
        """After a round: now and then, the journal must define exactly the state that the owner has."""
        state.counters = Counters()
        self._busy_until = self.loop.time() + 0.001
        owner = self._owners.get(state.partition)
        if owner is None or not owner.fresh:
            return  # nothing was journaled: what changed since is the owner's alone
        owner.fresh = False
        self._rounds += 1
        if self._rounds % self._check_every == 0 and not worker.process.dead:
            self.compare(state)

    def compare(self, state: State, *, marks: bool = True) -> None:
        """Restore from the journal as it is, and compare. Without `marks`, not what is delivered, nor the time."""
        owner = self._owners.get(state.partition)
        if owner is None or owner.head is None or owner.head["r"] != state.round:
            return  # a newer owner has gone on
        entities = self.entities(state.partition)
        restored = restoring.restore(entities, state.partition, self.shape.limits, journal_id="journal-id-1")

        def body(number: int) -> Envelope:
            return event_of(number, entities[journal.body_key(number)])

        expected = canonical(state, marks=marks, body=body)
        found = canonical(restored.state, marks=marks, body=body)
        if expected != found:
            text = difference(expected, found)
            self.broken(f"journal-{state.partition} does not define the state after round {state.round}: {text}")
        if restored.state.removed:
            self.broken(f"journal-{state.partition} keeps {restored.state.removed} after round {state.round}")

    def entities(self, number: int) -> dict[bytes, bytes]:
        """Return what the journal holds but for its claim."""
        entities: dict[bytes, bytes] = {}
        for one in self.cluster.read("journal", number):
            if one.key is None or any(name == journal.FENCE_HEADER for name, _ in one.headers):
                continue
            if one.value is None:
                entities.pop(one.key, None)
            else:
                entities[one.key] = one.value
        entities.pop(journal.CLAIM, None)
        return entities

    # --- life and death ---------------------------------------------------------------------------------------------

    def start(self, instance: str, workflows: Sequence[str]) -> None:
        self._lives += 1
        worker = Worker(self, instance, self._lives, [self.workflows[one] for one in workflows])
        self.workers[instance] = worker
        worker.start()

    def kill(self, instance: str) -> None:
        """The process is gone from one step to the next; the supervisor starts another one."""
        worker = self.workers[instance]
        if not worker.process.dead:
            worker.process.dead = True
            self._restart_later(instance)

    def _restart_later(self, instance: str) -> None:
        wait = self.random.choice((0.05, 0.4, 2.0))
        self.loop.call_at_in(self.loop.root, self.loop.time() + wait, self._restart, instance)

    def _restart(self, instance: str) -> None:
        if self.workers[instance].process.dead:
            self.start(instance, self._deployed(instance))

    def _deployed(self, instance: str) -> list[str]:
        """What a worker that starts now has: everything in the end, before that perhaps not all of it."""
        names = list(self.workflows)
        if self.healing:
            return names
        if self.late is not None and self.loop.time() < 1.5:
            names.remove(self.late)
        if self.rolled in names and instance != "worker0" and self.loop.time() < self.rolled_at:
            names.remove(self.rolled)
        if names and self.random.random() < 0.2:
            names.remove(self.random.choice(names))
        return names

    def _roll(self) -> None:
        """The workers that lack the workflow are restarted one after the other, while events go on coming."""
        for number, worker in enumerate(self.workers.values()):
            if worker.instance != "worker0" and not worker.process.dead:
                self.loop.call_at_in(self.loop.root, self.loop.time() + 0.3 * number, self.kill, worker.instance)

    # --- the run ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            with (
                mock.patch.object(commit, "BATCH_BYTES", self.shape.commit_bytes),
                mock.patch.object(commit, "_TAIL_IDS", self.shape.tail_ids),
                mock.patch.object(recall, "SCAN_BYTES", self.shape.scan_bytes),
                mock.patch.object(waits, "MOST_A_ROUND", self.shape.a_round),
                mock.patch.object(lookback, "SLICE_EVENTS", self.shape.slice_events),
            ):
                self._run()
        except Violation:
            raise
        except AssertionError as error:
            raise Violation(str(error)) from error
        finally:
            self.loop.dispose()

    def _run(self) -> None:
        loop, chance = self.loop, self.random
        for number in range(chance.choice((1, 2, 2, 3))):
            loop.call_at(chance.random() * 0.3, self._first_start, f"worker{number}")
        until = chance.uniform(1.0, 3.0) if self.durable and not self.ticks else chance.uniform(1.5, 5.0)
        self.inputs.plan(loop, until)
        for _ in range(chance.choice((0, 3, 7, 12))):
            loop.call_at(0.2 + chance.random() * until, self._trouble)
        if self.rolled is not None:
            loop.call_at(self.rolled_at, self._roll)
        loop.call_at(until + 0.3, self._heal)
        self._until_quiet(max(until + 0.4, programs.LAST_TICK + 0.1 if self.ticks else 0.0))
        if chance.random() < 0.4:
            self._begin_anew()
        if loop.problems:
            raise Violation("; ".join(loop.problems))
        from tests.simulation.model.verdict import check  # the model reads scenarios

        check(self)

    def _first_start(self, instance: str) -> None:
        self.start(instance, self._deployed(instance))

    def _begin_anew(self) -> None:
        """Kill all that is quiet: whoever takes over must find nothing to do again."""
        before = self._ends()
        for instance in list(self.workers):
            self.workers[instance].process.dead = True
        self.start("last", list(self.workflows))
        self._until_quiet(self.loop.time() + 0.5)
        if before != self._ends():
            raise Violation(f"a takeover of what was quiet has written: {before} became {self._ends()}")

    def _ends(self) -> dict[str, list[int]]:
        """Return how many records readers see in what is not the partitions' own."""
        topics = ("events", "commands", "dlq", "replies", "results", "runs")
        count = self.cluster.count
        return {
            one: [sum(r.value is not None for r in self.cluster.read(one, n)) for n in range(count(one))]
            for one in topics
        }

    def _until_quiet(self, earliest: float) -> None:
        latest = earliest + HEAL_SECONDS

        def finished() -> bool:
            if self._problem is not None:
                raise self._problem
            if self.loop.problems:
                raise Violation("; ".join(self.loop.problems))
            now = self.loop.time()
            if now < earliest or now < self._busy_until:
                return False
            if now > latest:
                raise Violation(f"stuck: {'; '.join(self._unrest())}")
            self._busy_until = now + 0.05
            return not self._unrest()

        self.loop.run(finished)

    def _unrest(self) -> list[str]:
        """Say what is still going on."""
        going: list[str] = []
        if self.watch.coming:
            going.append(f"{self.watch.coming} answers are on their way")
        owned: dict[int, Worker] = {}
        for worker in self.workers.values():
            if worker.process.dead or worker.process.frozen or not hasattr(worker, "partitions"):
                continue
            if worker.closing:
                going.append(f"{worker.name} is about to leave")
            if worker.generation is None or worker.generation != self.group.generation:
                going.append(f"{worker.name} is in generation {worker.generation} of {self.group.generation}")
                continue
            owned.update(dict.fromkeys(worker.partitions.numbers, worker))
        for number in range(self.partitions):
            if number not in owned:
                going.append(f"nobody has {number}")
                continue
            pump = owned[number].partitions.pump(number)
            assert pump is not None
            state = pump.state
            for topic, offset in (("events", state.events_offset), ("commands", state.commands_offset)):
                records = self.cluster.read(topic, number)
                if records and offset <= records[-1].offset:
                    going.append(f"{topic}-{number} at {offset} of {records[-1].offset + 1}")
            waiting = sum(len(lane.pending) for lane in state.lanes.values()) + asleep.count(state)
            runs = sorted(one.id for one in state.runs.values() if not rests(one))
            if runs or waiting:
                going.append(f"{number} has runs {runs} and {waiting} events waiting")
            if pump._lookback._looks or not _at_rest(state):
                going.append(f"{number} has waits to see to")
            head = self._owners[number].head
            if head is not None and (head["delivered"] < state.delivered or state.undelivered):
                going.append(f"{number} has journaled no mark of round {state.delivered}")
            if not pump._between.is_set():
                going.append(f"{number} is in a round")
            if not pump.delivery._idle.is_set():
                going.append(f"{number} delivers")
        return going

    # --- trouble ----------------------------------------------------------------------------------------------------

    def _trouble(self) -> None:
        chance, loop = self.random, self.loop
        alive = [one for one in self.workers.values() if not one.process.dead and hasattr(one, "partitions")]
        kind = chance.choice(
            (
                "kill",
                "kill",
                "kill",
                "freeze",
                "freeze",
                "compact",
                "compact",
                "rebalance",
                "join",
                "leave",
                "expire",
                "exhaust",
                "zombie",
            )
        )
        who = chance.choice(alive) if alive else None
        self.seen.trouble.append((loop.time(), f"{kind} {who.name if who else ''}"))
        if kind == "compact":
            number = chance.randrange(self.partitions)
            self.cluster.compact("journal", number, chance.randint(0, self.cluster.partition("journal", number).end))
        elif kind == "rebalance":
            self.group.rebalance()
        elif kind == "join" and len(self.workers) < 4:
            self._first_start(f"joined{self._lives}")
        elif kind == "expire":
            self.cluster.expire_transactional_id(f"journal.{chance.randrange(self.partitions)}")
        elif kind == "exhaust":
            left = chance.choice((0, 1, 2))
            self.cluster.exhaust_epochs(f"journal.{chance.randrange(self.partitions)}", left=left)
        elif who is None:
            pass
        elif kind == "kill":
            # At an arbitrary step, not only between two times.
            self.loop.kill_after(who.process, int(chance.random() ** 2 * 60), lambda: self.kill(who.instance))
        elif kind == "leave":
            who.closing = True
        elif kind in ("freeze", "zombie") and not who.process.frozen:
            self.loop.freeze(who.process)
            loop.call_at_in(loop.root, loop.time() + chance.choice((0.3, 1.4, 2.5, 3.5)), self.loop.thaw, who.process)
            if kind == "zombie":  # its id is forgotten meanwhile: the next owner has another one
                for number in range(self.partitions):
                    self.cluster.expire_transactional_id(f"journal.{number}")

    def _heal(self) -> None:
        """Faults end, the frozen go on, and every worker gets every workflow."""
        self.healing = True
        self.weather.fault_rate = self.weather.slow_rate = 0.0
        for worker in self.workers.values():
            if worker.process.frozen:
                self.loop.thaw(worker.process)
            if len(worker.workflows) < len(self.workflows) and not worker.process.dead:
                if hasattr(worker, "partitions") and self.random.random() < 0.5:
                    worker.closing = True
                else:
                    self.kill(worker.instance)


def rests(run: Run) -> bool:
    """Whether a run only waits, and for nothing that has an end."""
    if run.status not in (RunStatus.WAITING, RunStatus.COLD) or run.steps is None or not run.steps.open:
        return False
    return not run.workflow.timeout_seconds and all(
        isinstance(one.ask, Await | Suspend)
        and one.ask.deadline_ms is None
        and not one.due_ms
        and not (one.wait is not None and any(condition.candidates for condition in one.wait.conditions))
        for one in run.steps.open.values()
    )


def _at_rest(state: State) -> bool:
    """Whether nothing is to be done for waits."""
    registry = state.registry
    if state.interests is not None and any(one.look is not None for one in state.interests.all.values()):
        return False
    busy = state.lookbacks or state.flushes or state.mail or waits.backlog(state)
    return not busy and (
        registry is None or not (registry.opening or registry.blocked or registry.overdue or registry.flush)
    )


__all__ = ["Fenced", "Scenario", "Violation"]

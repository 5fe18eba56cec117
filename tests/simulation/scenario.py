"""One seed: workers, workflows, events and trouble; then healing, quiescence, and the model's verdict."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

from app.engine.journal import commit, snapshot
from app.engine.runs import renewal
from app.engine.tables import openwaits, packed, texts, timers
from app.engine.tables import runs as run_table
from app.engine.values.known import Definition
from app.engine.waits import waits
from app.kafka.log import Entry, LogError, Producer
from app.kafka.memory_cluster import MemoryCluster, MemoryPartition
from app.pump import lookback, parked, recall, takeover
from app.runtime import threads as runtime_threads
from tests.simulation import programs, shapes, threads, troubles
from tests.simulation.group import Group
from tests.simulation.inputs import Inputs
from tests.simulation.journals import Journals, Round
from tests.simulation.loop import Process, SimLoop
from tests.simulation.network import SimNetwork, Weather
from tests.simulation.people import People
from tests.simulation.plans import SIGNALS, Plan, looking_back, nested
from tests.simulation.rest import unrest
from tests.simulation.violation import Violation
from tests.simulation.watch import Watch, Watched
from tests.simulation.worker import EPOCH_MS, Worker

DURABLE = 0.6
"""Share of the seeds that have durable steps."""
ALL_DURABLE = 3_000
"""From this seed on all have."""
FAMILIES = 0.4
"""Share of these whose workflows start others, are cancelled, get stuck."""
HEAL_SECONDS = 400.0
"""Virtual time after which a scenario that is not quiet is stuck."""


@dataclass(slots=True)
class Seen:
    """What only the simulation sees."""

    calls: list[tuple[float, str, str, int, tuple[str, ...]]] = field(default_factory=list)
    """Time, workflow, run, attempt, and `sequence_id`s of the events of every call of an author's function."""
    journaled: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)
    """With which events owners have called the function of each run, since it was journaled."""
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    """Those of the partition that is the schedule's home."""
    trouble: list[tuple[float, str]] = field(default_factory=list)
    steps: Watched = field(default_factory=Watched)


@contextmanager
def tightened() -> Iterator[None]:
    """Let all that is done to tables of what rests when they are large be done to small ones."""

    def shared(text: str) -> bytes:
        return bytes([texts.key_of(text)[0] & 3]) + bytes(7)

    with (
        mock.patch.object(packed, "_BUCKET", 1),
        mock.patch.object(texts, "_MOST", 3),
        mock.patch.object(openwaits, "_MANY", 2),
        mock.patch.object(openwaits, "key_of", shared),
        mock.patch.object(run_table, "key_of_run", shared),
        mock.patch.object(timers, "FAR_MS", 0),
        mock.patch.object(renewal, "MOST_RETIRED", 1),
    ):
        yield


def is_durable(seed: int, apart: random.Random | None = None) -> bool:
    """Whether a seed has workflows with durable steps."""
    apart = apart or random.Random(f"steps of seed {seed}")
    return apart.random() < DURABLE or seed >= ALL_DURABLE


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
        self.shape = shapes.draw(chance, seed, self.partitions, tight_dedup=self.tight_dedup)
        self.programs = [programs.draw(chance, number) for number in range(chance.choice((1, 2, 3, 4)))]
        apart = random.Random(f"steps of seed {seed}")  # so that seeds without steps are what they were
        self.durable = is_durable(seed, apart)
        """Whether some of its workflows have durable steps."""
        if self.durable:
            self._make_durable(apart)
        apart_too = random.Random(f"family of seed {seed}")
        self.family = self.durable and apart_too.random() < FAMILIES
        """Whether its workflows start others, are cancelled, get stuck."""
        if self.family:
            self._make_family(apart_too)
        back = random.Random(f"since in seed {seed}")
        if self.durable and back.random() < 0.5:
            self.programs = [
                one if one.plan is None else replace(one, plan=looking_back(back, one.plan)) for one in self.programs
            ]
        nest = random.Random(f"nested in seed {seed}")
        if self.durable and nest.random() < 0.35:
            self.programs = [
                one if one.plan is None else replace(one, plan=nested(nest, one.plan)) for one in self.programs
            ]
        if self.durable:
            self.shape = shapes.crowded(self.shape, random.Random(f"crowd of seed {seed}"))
        self.plans: dict[str, Plan] = {one.id: one.plan for one in self.programs if one.plan is not None}
        """The steps of workflows, by their ids."""
        self.is_plain = {one.id: one.plain for one in self.programs}
        self.watch = Watch(self, apart)
        self.seen = Seen(steps=self.watch.seen)
        self.people = People(self, apart_too)
        if self.family:
            self.watch.eager = apart_too.choice((0.0, 0.3, 0.7))
        self.workflows = {one.id: programs.make(one, self._called, self.watch) for one in self.programs}
        self.mistaken = {
            one.id: programs.make(one, self._called, self.watch, wrong=True)
            for one in self.programs
            if one.plan is not None and self.family
        }
        """What does not fit what is recorded."""
        self.mistakes_from = apart_too.uniform(0.5, 1.5)
        self.mistakes_until = self.mistakes_from
        if self.family and apart_too.random() < 0.6:
            self.mistakes_until += apart_too.uniform(1.2, 2.5)
        apart = random.Random(f"schedule of seed {seed}")  # so that seeds without one are what they were
        self.ticks = apart.random() < 0.25
        if self.ticks:
            self.workflows[programs.TICK] = programs.ticking(apart)
        self.late = self.programs[-1].id if len(self.programs) > 1 and chance.random() < 0.3 else None
        """A workflow that is added while the system runs."""
        if self.family and apart_too.random() < 0.4:
            self.late = apart_too.choice([one.id for one in self.programs if not one.triggers])
        self.rolled = chance.choice(self.programs).id if chance.random() < 0.35 else None
        if self.family and apart_too.random() < 0.4:
            self.rolled = apart_too.choice([one.id for one in self.programs if not one.triggers])
        self.rolled_at = chance.uniform(0.8, 2.5)
        if self.rolled is not None and chance.random() < 0.5 and not self.durable:
            # More than there is room for slept until then.
            self.shape = replace(self.shape, bounds=replace(self.shape.bounds, held_bytes=2_000))
        """A workflow that the first worker has from its start, and the others only from then on."""
        self.announced: dict[str, Definition] = {}
        """What the topic of announcements says; workers hear of it later."""
        self.workers: dict[str, Worker] = {}
        self.code: dict[str, Sequence[str]] = {}
        """The workflows of each process, by its name."""
        self._disks: dict[str, dict[str, bytes]] = {}
        self.lives = 0
        self.healing = False
        self.problem: Violation | None = None
        self.inputs = Inputs(
            self.cluster,
            chance,
            self.partitions,
            repeats=0.4 if self.tight_dedup else 0.15,
            topics=self._topics(),
            batches=(2, 4, 6) if self.durable else (5, 10, 20),
        )
        apart = random.Random(f"away in seed {seed}")
        self.away_from = apart.uniform(0.1, 2.0) if apart.random() < 0.25 else None
        """From when on until all heals the topic of replies has no leader."""
        self.most_parked = apart.choice((1_000, 1_000, 2))
        self.journals = Journals(self, every=chance.choice((1, 3, 8)))
        self.busy_until = 0.0

    def _make_durable(self, apart: random.Random) -> None:
        """Let workflows with durable steps take the place of all others but one, perhaps."""
        self.tight_dedup = False
        self.programs = self.programs[: apart.choice((0, 0, 1))]
        self.programs += [programs.draw_durable(apart, number) for number in range(apart.choice((1, 1, 2)))]
        self.shape = shapes.for_steps(self.shape, apart, strict=any(one.order == "strict" for one in self.programs))

    def _make_family(self, apart: random.Random) -> None:
        """Let workflows that start others take the place of those that do not."""
        self.programs = [one for one in self.programs if one.plan is None and not one.publishes]
        self.programs += programs.draw_family(apart)
        self.shape = shapes.for_steps(self.shape, apart, strict=any(one.order == "strict" for one in self.programs))

    def _topics(self) -> tuple[str, ...]:
        """Return those of the events that come from outside."""
        if not self.durable:
            return programs.TOPICS
        if self.family:
            return ("orders/created",) * 3 + ("orders/paid", "refunds/created", *SIGNALS, programs.CANCELS)
        return (*programs.TOPICS, *SIGNALS)

    def disk(self, instance: str) -> dict[str, bytes]:
        return self._disks.setdefault(instance, {})

    def now_ms(self) -> int:
        return EPOCH_MS + int(self.loop.time() * 1000)

    # --- what the parts tell ----------------------------------------------------------------------------------------

    def _called(self, workflow: str, run: str, attempt: int, events: Sequence[dict[str, Any]]) -> int:
        if run in self.seen.journaled and self.journals.owns(run):
            self.seen.journaled[run].add(tuple(f"{one['sequence_id']}/{one['id']}" for one in events))
        about = tuple(f"{one['sequence_id']}/{one['id']}" for one in events)
        self.seen.calls.append((self.loop.time(), workflow, run, attempt, about))
        return len(self.seen.calls)

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
        wait = self.random.choice((0.0, 2.0, 2.0, 2.0) if self.family else (0.0, 0.0, 0.3, 2.0))
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
        if self.problem is None:
            self.problem = Violation(what)
            self.problem.__cause__ = cause

    def _appended(
        self, where: MemoryPartition, producer: Producer | None, entries: Sequence[Entry], offset: int
    ) -> None:
        """Watch every batch that the cluster takes."""
        if where.topic in ("events", "commands"):
            for worker in self.workers.values():
                if not worker.process.dead and hasattr(worker, "fetched"):
                    worker.fetched.set()
        elif where.topic in ("journal", "results", "runs"):
            if where.topic == "results":
                self.watch.results(where.number, entries)
            self.journals.appended(where, producer, entries)

    # --- life and death ---------------------------------------------------------------------------------------------

    def start(self, instance: str, workflows: Sequence[str]) -> None:
        self.lives += 1
        mistaken = self.mistakes_from <= self.loop.time() < self.mistakes_until and not self.healing
        code = self.workflows | self.mistaken if mistaken else self.workflows
        worker = Worker(self, instance, self.lives, [code[one] for one in workflows])
        self.workers[instance] = worker
        self.code[worker.name] = workflows
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

    def _redeploy(self) -> None:
        """All workers are restarted with other code, or with what they had before."""
        for number, worker in enumerate(self.workers.values()):
            if not worker.process.dead:
                self.loop.call_at_in(self.loop.root, self.loop.time() + 0.1 * number, self.kill, worker.instance)

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
                mock.patch.object(waits, "MOST_UNBLOCKED", self.shape.a_round),
                mock.patch.object(waits, "MOST_LOOKED_FOR", self.shape.a_round),
                mock.patch.object(parked, "MOST", self.most_parked),
                mock.patch.object(takeover, "AT_ONCE_BYTES", self.shape.at_once_bytes),
                mock.patch.object(lookback, "SLICE_EVENTS", self.shape.slice_events),
                mock.patch.object(snapshot, "SLICE", self.shape.a_round),
                mock.patch.object(runtime_threads, "concurrent", threads.CONCURRENT),
                tightened() if self.shape.tight else nullcontext(),
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
            loop.call_at(chance.random() * 0.3, self.first_start, f"worker{number}")
        until = chance.uniform(1.0, 3.0) if self.durable and not self.ticks else chance.uniform(1.5, 5.0)
        self.inputs.plan(loop, until)
        for _ in range(chance.choice((0, 3, 7, 12))):
            loop.call_at(0.2 + chance.random() * until, troubles.happen, self)
        if self.rolled is not None:
            loop.call_at(self.rolled_at, self._roll)
        if self.away_from is not None:
            loop.call_at(self.away_from, self._away)
        if self.mistakes_from < self.mistakes_until:
            loop.call_at(self.mistakes_from, self._redeploy)
        if self.family:
            self.people.plan(until)
        heals_at = max(until + 0.3, self.mistakes_until if self.mistakes_from < self.mistakes_until else 0.0)
        loop.call_at(heals_at, self._heal)
        self._until_quiet(max(heals_at + 0.1, programs.LAST_TICK + 0.1 if self.ticks else 0.0))
        if self.family and self.people.cancel_what_waits():
            self._until_quiet(self.loop.time() + 0.1)
        if chance.random() < 0.4:
            self._begin_anew()
        if loop.problems:
            raise Violation("; ".join(loop.problems))
        from tests.simulation.model.verdict import check  # the model reads scenarios

        check(self)

    def first_start(self, instance: str) -> None:
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
            if self.problem is not None:
                raise self.problem
            if self.loop.problems:
                raise Violation("; ".join(self.loop.problems))
            now = self.loop.time()
            if now < earliest or now < self.busy_until:
                return False
            if now > latest:
                raise Violation(f"stuck: {'; '.join(unrest(self))}")
            self.busy_until = now + 0.05
            return not unrest(self)

        self.loop.run(finished)

    def _away(self) -> None:
        if not self.healing:
            self.cluster.away.add("replies")

    def _heal(self) -> None:
        """Faults end, the frozen go on, and every worker gets every workflow."""
        self.healing = True
        self.cluster.away.clear()
        self.weather.fault_rate = self.weather.slow_rate = 0.0
        for worker in self.workers.values():
            if worker.process.frozen:
                self.loop.thaw(worker.process)
            lacks = any(one not in self.workflows.values() for one in worker.workflows)
            lacks = lacks or len(worker.workflows) < len(self.workflows)
            if lacks and not worker.process.dead:
                if hasattr(worker, "partitions") and self.random.random() < 0.5:
                    worker.closing = True
                else:
                    self.kill(worker.instance)

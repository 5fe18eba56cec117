"""One partition as the pump drives it, without a log: what the tests of the engine share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from app.engine import apply as engine
from app.engine.effects import After, Commit, Effects, Rise
from app.engine.inputs import (
    BodiesRead,
    CommandsRead,
    Delivered,
    Ended,
    EventsRead,
    Failure,
    Input,
    RunsRead,
    StepAsked,
    StepEnded,
    WorkflowsLoaded,
)
from app.engine.journal.commit import commit
from app.engine.journal.entities import Entities, event_of
from app.engine.journal.restore import restore
from app.engine.runs import atrest, rising
from app.engine.starts import waking
from app.engine.tables import receipts
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import Lane, State, Timer, empty
from app.engine.values.asks import Ask, Note
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.values.outgoing import Outgoing, Record
from headgate.definition import Workflow, workflow
from topics import codec, commands, journal, keys
from topics.envelope import Envelope

NOW = 1_769_860_800_000
"""2026-01-31T12:00:00Z."""
JOURNAL = "journal-topic-id"


def flow(workflow_id: str = "charge", trigger: Any = "orders/created", **options: Any) -> Workflow:
    """A workflow whose function nobody calls: the engine only says when."""

    async def fn(ctx: Any, payload: Any) -> None:
        raise AssertionError("the engine calls no author's function")

    made: Workflow = workflow(workflow_id, trigger, **options)(fn)
    return made


def event(
    offset: int,
    topic: str = "orders/created",
    data: Any = None,
    *,
    id: str | None = None,  # noqa: A002 as the event names it
    key: str | None = None,
    source: str = "",
    at: int = NOW,
    partition: int = 0,
    **more: Any,
) -> Envelope:
    """An event as it was read from `events`."""
    record_key, value, headers = codec.produce_form(topic, data, event_id=id, key=key, source=source, **more)
    return codec.decode(value, record_key, headers, partition=partition, offset=offset, timestamp_ms=at, max_bytes=None)


def run_id(workflow_id: str, envelope: Envelope) -> str:
    return keys.run_id(workflow_id, keys.digest_of(envelope))


def failure(message: str = "no luck", *, kind: str = "ValueError", **options: Any) -> Failure:
    return Failure(kind, message, None, **options)


class Partition:
    """State, journal and the runs in hand; every method is one thing that happens."""

    def __init__(
        self,
        *workflows: Workflow,
        announced: Sequence[Workflow | Definition] = (),
        partition: int = 0,
        partitions: int = 1,
        now: int = NOW,
        load: bool = True,
        **limits: Any,
    ) -> None:
        self.limits = Limits(partitions=partitions, **limits)
        self.state: State = empty(partition, self.limits, journal_id=JOURNAL)
        self.now = now
        self.journal: dict[bytes, bytes] = {}
        self.log: list[bytes] = [b"claim"]
        """The values of all records, by offset."""
        self.after: list[After] = []
        """What the runtime is to do once the round is journaled."""
        self.in_hand: dict[str, int] = {}
        """Attempts that the runtime drives: run id to attempt."""
        self.commits: list[Commit] = []
        self.again: list[Outgoing] = []
        self.next_offset = 0
        self.commands_offset = 0
        self.recalls = True
        """Whether what the engine wants from the journal is read at once."""
        if load:
            self.load(*workflows, announced=announced)

    def give(self, *given: Input, after_ms: int = 0) -> Effects:
        """Apply `given` `after_ms` later; a chunk of nothing at all is time that passes."""
        self.now += after_ms
        effects = engine.apply(self.state, given, self.now)
        while self.recalls and (read := self.recalled(3)):
            more = engine.apply(self.state, [read], self.now)
            effects.starts += more.starts
            effects.cancels += more.cancels
            effects.after += more.after
        self.after += effects.after
        for one in effects.after:
            if isinstance(one, Rise):
                self.in_hand[one.run.id] = one.run.attempt
        for run in effects.cancels:
            self.in_hand.pop(run.id, None)
        for run in effects.starts:
            self.in_hand[run.id] = run.attempt
        return effects

    def recalled(self, most: int) -> Input | None:
        """What the engine wants to be read, as the pump would give it."""
        if wanted := rising.wanted(self.state, most):
            return self._runs(wanted)
        numbers = waking.wanted(self.state, most)
        return BodiesRead(self.bodies(numbers), self.places(numbers)) if numbers else None

    def ring(self, most: int = 100) -> Effects:
        """Read back the runs that may go on from their sleep in this round, as the pump does."""
        return self.give(self._runs(rising.rung(self.state, most)))

    def _runs(self, wanted: Sequence[rising.Wanted]) -> RunsRead:
        return RunsRead(
            [
                (
                    one.run_id,
                    [event_of(number, self.log[offset]) for number, offset in one.bodies],
                    [self.log[offset] for offset in one.steps],
                )
                for one in wanted
            ]
        )

    def places(self, numbers: Iterable[int]) -> dict[int, int]:
        """Where these bodies are."""
        return {one: self.log.index(self.journal[journal.body_key(one)]) for one in numbers}

    def bodies(self, numbers: Iterable[int]) -> list[tuple[int, Envelope]]:
        """What the journal holds under these numbers."""
        return [(one, event_of(one, self.journal[journal.body_key(one)])) for one in numbers]

    def load(
        self,
        *workflows: Workflow,
        announced: Sequence[Workflow | Definition] = (),
        retired: Mapping[str, int] | None = None,
    ) -> list[str]:
        definitions = [one if isinstance(one, Definition) else Definition.of(one) for one in announced]
        return started(self.give(WorkflowsLoaded(workflows, definitions, retired or {})))

    def read(self, *envelopes: Envelope, malformed: Sequence[Record] = (), after_ms: int = 0) -> list[str]:
        """Read events; return the ids of the runs that start."""
        self.next_offset = max([self.next_offset, *(one.offset + 1 for one in envelopes)])
        return started(self.give(EventsRead(envelopes, malformed, self.next_offset), after_ms=after_ms))

    def commanded(self, *given: commands.Command) -> list[str]:
        self.commands_offset += len(given)
        return started(self.give(CommandsRead(given, (), self.commands_offset)))

    def complete(self, *run_ids: str, result: bytes = b'{"ok":true}') -> list[str]:
        return started(self.give(*(Ended(one, self._attempt(one), result) for one in run_ids)))

    def fail(self, run_id: str, why: Failure | None = None) -> list[str]:
        return started(self.give(Ended(run_id, self._attempt(run_id), None, why or failure())))

    def publish(self, run_id: str, step: str = "tell", *, attempt: int | None = None) -> Record:
        published_id = keys.published_event_id(run_id, step)
        record = Record("events", 0, None, orjson.dumps({"topic": "told", "data": step, "id": published_id}), ())
        note = Note(orjson.dumps(published_id), (record,), quiet=True)
        self.ask(run_id, step, note, attempt=attempt or self.in_hand[run_id])
        return record

    def ask(
        self, run_id: str, key: str, ask: Ask, *, about: str = "", attempt: int | None = None, aside: bool = False
    ) -> Effects:
        """Let a run ask for a step."""
        attempt = attempt or self.run(run_id).attempt
        return self.give(StepAsked(run_id, attempt, key, about or f"{type(ask).__name__} {key}", ask, aside))

    def step_ends(self, run_id: str, key: str, value: bytes = b"1", why: Failure | None = None) -> Effects:
        """Let an attempt of a step's function end."""
        attempt = self.run(run_id).attempt
        return self.give(StepEnded(run_id, attempt, key, None if why else value, why))

    def told(self) -> list[After]:
        """What the runtime is told once the round is journaled."""
        after, self.after = self.after, []
        return after

    def wait(self, ms: int) -> list[str]:
        return started(self.give(after_ms=ms))

    def deliver(self, round_: int, *, results_end: int = 0, runs_end: int = 0) -> None:
        self.give(Delivered(round_, results_end, runs_end))

    def commit(self) -> Commit | None:
        """Close the round, as if the append succeeded."""
        made = commit(self.state)
        if made is not None:
            self.commits.append(replace(made, placed={}))
            merge(self.journal, [*made.ahead, *made.batch])
            for key, value in (*made.ahead, *made.batch):
                if value is not None and key in made.placed:
                    made.placed[key].offset = len(self.log)
                self.log.append(value or b"")
        self.cool()
        return made

    def cool(self) -> None:
        """Let runs that wait for their next attempt leave memory."""
        rising.cool(self.state)
        atrest.pack(self.state)

    def committed(self) -> Outgoing:
        """Close the round and return what it sends out; there must be something to journal."""
        made = self.commit()
        assert made is not None
        return made.outgoing

    def takeover(
        self,
        *workflows: Workflow,
        announced: Sequence[Workflow | Definition] = (),
        journal_: Mapping[bytes, bytes] | None = None,
        load: bool = True,
    ) -> "Partition":
        """Another owner, from the journal alone."""
        entities = self.journal if journal_ is None else journal_
        other = Partition(partition=self.state.partition, now=self.now, load=False)
        other.limits = self.limits
        other.journal = dict(entities)
        other.log += entities.values()
        read = Entities()
        for offset, (key, value) in enumerate(entities.items(), 1):
            read.put(key, value, offset)
        found = restore(read, self.state.partition, self.limits, journal_id=JOURNAL)
        other.state, other.again = found.state, found.deliver_again
        other.next_offset, other.commands_offset = found.state.events_offset, found.state.commands_offset
        if load:
            other.load(*workflows, announced=announced)
            other.cool()
        return other

    def run(self, run_id: str) -> Run:
        return self.state.runs[run_id]

    def kinds(self) -> dict[str, int]:
        """How many journal records there are of each kind."""
        found: dict[str, int] = {}
        for key in self.journal:
            kind = key.split(b":", 1)[0].decode()
            found[kind] = found.get(kind, 0) + 1
        return found

    def entity(self, key: bytes) -> Any:
        return journal.decode(key, self.journal[key])

    def _attempt(self, run_id: str) -> int:
        return self.in_hand.pop(run_id)


def merge(entities: dict[bytes, bytes], written: Iterable[tuple[bytes, bytes | None]]) -> None:
    """Let `entities` be what compaction leaves after `written`."""
    for key, value in written:
        entities.pop(key, None)
        if value is not None:
            entities[key] = value


def started(effects: Effects) -> list[str]:
    return [one.id for one in effects.starts]


def results(outgoing: Outgoing) -> list[dict[str, Any]]:
    return [orjson.loads(one[1]) for one in outgoing.results]


def summary(outgoing: Outgoing) -> list[tuple[str, str, Any]]:
    """(run id, status, result or the error's message) of each result."""
    return [
        (one["run_id"], one["status"], one["error"]["message"] if one["error"] else one["result"])
        for one in results(outgoing)
    ]


def facts(outgoing: Outgoing) -> list[dict[str, Any]]:
    return [orjson.loads(one.value or b"") for one in outgoing.runs]


def of_topic(outgoing: Outgoing, topic: str) -> list[Record]:
    return [one for one in outgoing.records if one.topic == topic]


def dead(outgoing: Outgoing) -> list[dict[str, Any]]:
    return [orjson.loads(one.value or b"") for one in of_topic(outgoing, "dlq")]


def commanded(outgoing: Outgoing) -> list[tuple[int | None, commands.Command]]:
    return [(one.partition, commands.decode(one.value)) for one in of_topic(outgoing, "commands")]


def canonical(state: State) -> dict[str, Any]:
    """All that two states must agree on to go on alike: no numbers of slots or timers, no order that means nothing."""
    runs = {
        one.id: {
            "workflow": (one.workflow.id, one.workflow.version),
            "events": one.events,
            "bodies": None if one.held is None else [held.number for held in one.held],
            "lane": one.lane,
            "attempt": one.attempt,
            "started": one.started_ms,
            "status": one.status,
            "due": one.due_ms if one.status is RunStatus.RETRYING else None,
            "deadline": one.deadline_ms,
            "steps": _steps(one),
            "why": (state.stuck.get(one.id), state.fates.get(one.id), state.keyed.key_of(one.id)),
            "journaled": one.journaled,
        }
        for one in state.runs.values()
    }
    in_runs = [held for run in state.runs.values() for held in run.held or ()]
    in_lanes = [pending.held for lane in state.lanes.values() for pending in lane.pending]
    refs = {(one.number, one.envelope.partition, one.envelope.offset): one.refs for one in (*in_runs, *in_lanes)}
    return {
        "offsets": (state.events_offset, state.commands_offset),
        "round": state.round,
        "now": state.now_ms,
        "known": (state.known, state.definitions, state.unheard),
        "retired": state.retired,
        "schedules": state.schedules,
        "loaded": sorted(state.loaded),
        "received": state.received,
        "sent": state.sent,
        "runs": runs,
        "running": state.running,
        "waiting": state.waiting,
        "lanes": {
            key: (one.active, [p.held.envelope for p in one.pending], _armed(one)) for key, one in state.lanes.items()
        },
        "asleep": {name: list(numbers) for name, numbers in state.asleep.items()},
        "dormant": ({one.id: list(one.places[::2]) for one in state.runs.values() if one.places}, state.runs.bodies),
        "waking": (state.waking, list(state.rising), state.falling),
        "shared": sorted(state.shared),
        "held bytes": state.held_bytes,
        "run bytes": state.run_bytes,
        "timers": sorted(_live_timers(state)),
        "ids": sorted(ids(state)),
        "bodies": state.bodies,
        "references": refs,
        "outputs": (state.delivered, state.results_end, state.runs_end),
        "undelivered": [(one.round, sorted(one.slots)) for one in state.undelivered],
        "slots": (state.slots, sorted(state.free_slots)),
        "left over": (state.removed, state.orphans, state.ready, state.freed, state.forwards, state.gathers),
    }


def _steps(run: Run) -> Any:
    steps = run.steps
    if steps is None or not steps.any:
        return None
    return {
        "open": {
            one.key: (
                one.n,
                one.kind,
                one.about,
                one.ask,
                one.par,
                one.attempts,
                one.due_ms,
                one.error,
                one.wait,
                one.children,
            )
            for one in steps.open.values()
            if one.journaled or one.touched
        },
        "numbers": [n for n, place in enumerate(steps.places) if place >= 0],
        "published": steps.published or {},
        "received": receipts.written(steps),
        "resting": steps.resting,
        "par": steps.par,
    }


def ids(state: State) -> set[bytes]:
    """The event ids that are remembered."""
    return {
        bytes(bucket[at : at + 12])
        for generation in state.dedup.generations
        for bucket in generation.buckets
        if bucket is not None
        for at in range(0, len(bucket), 12)
    }


def _is_due(run: Run, key: str | None, due_ms: int) -> bool:
    step = None if run.steps is None else run.steps.open.get(key or "")
    return step is not None and step.due_ms == due_ms


def _armed(lane: Lane) -> int | None:
    """When the lane's next batch is due; a deadline that was overtaken means nothing."""
    return lane.armed_ms if lane.pending and (not lane.active or lane.workflow.order == "none") else None


def _live_timers(state: State) -> set[tuple[int, str, str, str]]:
    live: set[tuple[int, str, str, str]] = set()
    far = [
        (due_ms, count, Timer(kind), name, group)
        for due_ms, count, kind, name, group in (*state.later, *state.later_ones)
    ]
    for due_ms, _, kind, name, group in [*state.timers, *far]:
        run = next((one for one in state.runs.values() if one.id == name), None)
        lane = state.lanes.get((name, group))
        holds = {
            Timer.RETRY: run is not None and run.status is RunStatus.RETRYING and run.due_ms == due_ms,
            Timer.DEADLINE: run is not None and run.deadline_ms == due_ms,
            Timer.STEP: run is not None and run.steps is not None and _is_due(run, group, due_ms),
            Timer.BATCH: lane is not None and _armed(lane) == due_ms,
            Timer.SCHEDULE: name in state.schedules and state.schedules[name].armed_ms == due_ms,
        }
        if holds[kind]:
            live.add((due_ms, kind.name, name, group or ""))
    return live

"""The code with one promise broken each: what the simulation must notice, or it is worth nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from app.engine import apply as engine
from app.engine.effects import Effects
from app.engine.inputs import CommandsRead
from app.engine.journal import commit, records, restore
from app.engine.runs import asleep, runs
from app.engine.starts import lanes, schedules, waking
from app.engine.steps import risen
from app.engine.tables.dedup import Dedup
from app.engine.tables.matching import Matcher
from app.engine.tables.state import Followed, State
from app.engine.values.outgoing import Outgoing
from app.kafka.log import AppendFailed
from app.kafka.memory import MemoryLog
from app.kafka.memory_cluster import MemoryPartition
from app.pump import takeover
from app.pump.pump import Pump
from app.pump.reader import Reader
from app.pump.standby import Standby
from headgate.definition import Workflow
from headgate.schedule import CatchUp
from tests.simulation.mutations_of_families import OF_FAMILIES
from tests.simulation.mutations_of_packing import OF_PACKING
from tests.simulation.mutations_of_steps import OF_STEPS, Patch, both
from topics import keys


def _deliver_first() -> Any:
    """What a round sends out is sent before its journal batch is durable."""
    before = Pump._append

    async def append(self: Pump, made: Any) -> None:
        out = made.outgoing
        if out:
            self.delivery.offer(Outgoing(out.round, list(out.results), list(out.runs), list(out.records)))
            out.results.clear()
            out.runs.clear()
            out.records.clear()
        await before(self, made)

    return mock.patch.object(Pump, "_append", append)


def _no_tail_check() -> Any:
    """A takeover delivers again without looking at what results and runs already hold."""

    async def all_again(_log: Any, state: State, again: Sequence[Outgoing]) -> list[Outgoing]:
        return list(again)

    return mock.patch.object(takeover, "_without_delivered", all_again)


def _no_redelivery() -> Any:
    """A takeover does not deliver again."""

    async def nothing(_log: Any, _state: State, _again: Sequence[Outgoing]) -> list[Outgoing]:
        return []

    return mock.patch.object(takeover, "_without_delivered", nothing)


def _ignore_sequences() -> Any:
    """Commands are taken whatever their sequence says."""

    def read(state: State, given: CommandsRead, effects: Any) -> None:
        state.received.clear()
        for command in given.commands:
            state.received[f"{command.source}/{command.journal}"] = command.sequence - 1
            one = CommandsRead([command], (), given.next_offset)
            before(state, one, effects)
        before(state, CommandsRead((), given.malformed, given.next_offset), effects)

    before = engine.HANDLERS[CommandsRead]
    return mock.patch.dict(engine.HANDLERS, {CommandsRead: read})


def _no_fence() -> Any:
    """The log refuses nobody."""

    def unchecked(_self: Any, _producer: Any, _sequence: int, _count: int) -> None:
        return None

    return mock.patch.object(MemoryPartition, "_check", unchecked)


def _open_outputs() -> Any:
    """A takeover does not close results and runs to older owners."""

    async def fence_only(self: MemoryLog) -> Any:
        return await self.fence()

    return mock.patch.object(MemoryLog, "close_outputs", fence_only)


def _no_kill_record() -> Any:
    """Another producer id is not shut out."""

    async def nothing(_self: MemoryLog, _producer_id: int) -> None:
        return None

    return mock.patch.object(MemoryLog, "shut_out", nothing)


def _claim_late() -> Any:
    """The journal is not read again after the claim."""
    before = Reader.read_on

    async def once(self: Any, **options: Any) -> None:
        if self.next_offset:
            _, self.next_offset = await self.log.bounds("journal")
            return
        await before(self, **options)

    return mock.patch.object(Reader, "read_on", once)


def _offsets_first() -> Any:
    """A round is journaled with the offset up to which is read already, not with that of what it decided."""
    before = commit.head

    def head(state: State) -> dict[str, Any]:
        ahead = positions.get(id(state), 0)
        return before(state) | {"events": max(state.events_offset, ahead)}

    offer = Pump._offer
    positions: dict[int, int] = {}

    async def offered(self: Pump, topic: str, inbox: Any, records: Any, begin: int | None) -> None:
        await offer(self, topic, inbox, records, begin)
        if topic == "events":
            positions[id(self.state)] = inbox.next_offset

    return both(mock.patch.object(commit, "head", head), mock.patch.object(Pump, "_offer", offered))


def _forget_pending() -> Any:
    """A restore forgets what waited."""
    return mock.patch.object(restore, "_sleep", return_value=None)


def _forget_triggers() -> Any:
    """A takeover knows workflows by name alone."""
    before = restore.restore

    def restored(*given: Any, **options: Any) -> Any:
        found = before(*given, **options)
        found.state.definitions.clear()
        return found

    return mock.patch("app.pump.takeover.restore", restored)


def _new_before_old() -> Any:
    """Events of a workflow that is waking do not wait for those that slept."""

    def rematch(state: State) -> None:
        state.matcher = Matcher([*state.loaded.values(), *state.definitions.values()])

    return mock.patch.object(waking, "rematch", rematch)


def _forget_sleepers() -> Any:
    """A body goes when nothing in memory needs it, though something that sleeps does."""
    return mock.patch.object(asleep, "needed", return_value=False)


def _forget_runs() -> Any:
    """A restore forgets runs that had started."""
    return mock.patch.object(restore, "_run", return_value=None)


def _forget_ids() -> Any:
    """A restore forgets which ids were seen."""
    return mock.patch.object(restore, "_ids", return_value=None)


def _no_dedup() -> Any:
    """Equal ids are not noticed."""
    before = Dedup.seen

    def never(self: Dedup, digest: bytes, now_ms: int) -> bool:
        before(self, digest, now_ms)
        return False

    return mock.patch.object(Dedup, "seen", never)


def _no_homes() -> Any:
    """Events are processed where they landed."""
    return mock.patch.object(keys, "home_of", lambda event, _count: event.partition)


def _no_order() -> Any:
    """Events of one key do not wait for each other."""
    before = lanes.admit

    def admit(state: State, workflow: Any, envelope: Any, digest: bytes, held: Any, effects: Any) -> None:
        if workflow.id in state.loaded and workflow.batch_size == 1 and workflow.filter is None:
            run_id = keys.run_id(workflow.id, digest)
            runs.start(state, workflow, (envelope,), run_id, None if held is None else (held,), None, effects)
        else:
            before(state, workflow, envelope, digest, held, effects)

    return mock.patch.object(lanes, "admit", admit)


def _publish_anew() -> Any:
    """What a run has published is not remembered between its attempts."""
    return mock.patch.object(risen, "_recorded", return_value=())


def _mark_early() -> Any:
    """Rounds count as delivered before anything is acknowledged."""
    before = Pump._append

    async def append(self: Pump, made: Any) -> None:
        await before(self, made)
        self.state.delivered = made.round

    return mock.patch.object(Pump, "_append", append)


def _lose_tombstones() -> Any:
    """What ended is not removed from the journal."""
    before = commit.commit

    def keep(state: State) -> Any:
        state.removed.clear()
        return before(state)

    return mock.patch("app.pump.pump.commit", keep)


def _take_any_offset() -> Any:
    """An append may return any offset."""

    async def append(self: Pump, entries: Any) -> None:
        self._next_journal_offset = await self._log.append(entries) + len(entries)

    return mock.patch.object(Pump, "_append_one", append)


def _go_on_after_lost_answers() -> Any:
    """An append without an answer is tried again under the next sequence, as if it had not happened."""
    before = MemoryLog._append

    async def append(self: MemoryLog, topic: str, entries: Any) -> int:
        try:
            return await before(self, topic, entries)
        except AppendFailed:
            self._failed = None
            await self.fence()
            return await before(self, topic, entries)

    return mock.patch.object(MemoryLog, "_append", append)


def _standby_keeps_what_went() -> Any:
    """A standby takes what is written, and not what is removed."""
    before = Standby._begin

    async def begin(self: Any, number: int) -> Reader:
        reader: Any = await before(self, number)
        take = reader._take
        reader._take = lambda one: None if one.value is None else take(one)
        return reader  # type: ignore[no-any-return]

    return mock.patch.object(Standby, "_begin", begin)


def _miss_instants() -> Any:
    """What passed while nobody had a workflow's code is passed over, whatever its schedule says."""
    before = schedules._follow

    def follow(state: State, workflow: Workflow, effects: Effects) -> None:
        followed = state.schedules.get(workflow.id)
        if followed is not None and followed.armed_ms is None:
            followed.last_ms = max(followed.last_ms, state.now_ms)
            schedules._touch(state, workflow.id, followed)
        before(state, workflow, effects)

    return mock.patch.object(schedules, "_follow", follow)


def _catch_up_anyway() -> Any:
    """What passed while nobody had a workflow's code starts a run, though its author wants that skipped."""
    before = schedules._follow

    def follow(state: State, workflow: Workflow, effects: Effects) -> None:
        followed = state.schedules.get(workflow.id)
        if followed is not None and followed.armed_ms is None:
            schedules._start_missed(state, workflow, followed, effects)
        before(state, workflow, effects)

    return mock.patch.object(schedules, "_follow", follow)


def _skip_what_is_due() -> Any:
    """An owner that follows a schedule skips what comes due, too."""
    before = schedules._start_missed

    def start(state: State, workflow: Workflow, followed: Followed, effects: Effects) -> None:
        assert workflow.schedule is not None
        if workflow.schedule.catch_up is CatchUp.SKIP:
            followed.last_ms = state.now_ms
            schedules._touch(state, workflow.id, followed)
        else:
            before(state, workflow, followed, effects)

    return mock.patch.object(schedules, "_start_missed", start)


def _schedules_everywhere() -> Any:
    """Every owner follows every schedule."""
    before = schedules.follow

    def follow(state: State, effects: Effects) -> None:
        with mock.patch.object(keys, "partition_of", return_value=state.partition):
            before(state, effects)

    return mock.patch.object(schedules, "follow", follow)


def _park_in_memory() -> Any:
    """Records for a topic that is away are not journaled once their rounds are marked as delivered."""
    return mock.patch.object(records, "parked", return_value=())


MUTATIONS: Final[dict[str, Patch]] = (
    {
        "deliver-first": _deliver_first,
        "no-tail-check": _no_tail_check,
        "no-redelivery": _no_redelivery,
        "ignore-sequences": _ignore_sequences,
        "no-fence": _no_fence,
        "open-outputs": _open_outputs,
        "no-kill-record": _no_kill_record,
        "no-reading-after-the-claim": _claim_late,
        "offsets-first": _offsets_first,
        "forget-pending": _forget_pending,
        "forget-triggers": _forget_triggers,
        "new-before-old": _new_before_old,
        "forget-sleepers": _forget_sleepers,
        "forget-runs": _forget_runs,
        "forget-ids": _forget_ids,
        "no-dedup": _no_dedup,
        "no-homes": _no_homes,
        "no-order": _no_order,
        "publish-anew": _publish_anew,
        "mark-early": _mark_early,
        "lose-tombstones": _lose_tombstones,
        "miss-instants": _miss_instants,
        "catch-up-anyway": _catch_up_anyway,
        "skip-what-is-due": _skip_what_is_due,
        "schedules-everywhere": _schedules_everywhere,
        "go-on-after-lost-answers": _go_on_after_lost_answers,
        "standby-keeps-what-went": _standby_keeps_what_went,
        "park-in-memory": _park_in_memory,
    }
    | OF_STEPS
    | OF_FAMILIES
    | OF_PACKING
)


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Run the block with the mutation `name`, None for none."""
    if name is None:
        yield
        return
    with MUTATIONS[name]():
        yield

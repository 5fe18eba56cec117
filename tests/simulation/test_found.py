"""What the simulation has found, each as a case of its own that fails without its fix."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
import pytest_asyncio

from app.engine.apply import apply
from app.engine.effects import Effects, Resolve, Rise
from app.engine.inputs import (
    BodiesRead,
    Delivered,
    Ended,
    EventsRead,
    Evicted,
    Failure,
    LookedBack,
    StepAsked,
    TimePassed,
    WorkflowsLoaded,
)
from app.engine.journal import snapshot
from app.engine.journal.commit import commit
from app.engine.journal.entities import event_of
from app.engine.journal.restore import Restored, restore
from app.engine.starts import waking, wishes
from app.engine.tables.run import Run, RunStatus
from app.engine.tables.state import State, empty, policy_of
from app.engine.values.asks import Await, EventCondition, Sleep
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.waits import lookbacks, waits
from app.kafka.log import Entry
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import MemoryCluster
from app.pump.takeover import Owner, take_over
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate import workflow
from headgate.definition import Workflow
from headgate.errors import HeadgateError, Pause
from tests.simulation.pool import run_seed
from tests.unit.app.engine.partition import Partition, run_id
from tests.unit.app.engine.partition import event as an_event
from tests.unit.app.engine.world import World
from topics import codec, keys
from topics.envelope import Envelope
from topics.journal import body_key

NOW = 1_700_000_000_000


class Journal:
    """A journal as a dictionary: what compaction would leave of it."""

    def __init__(self, limits: Limits) -> None:
        self.entities: dict[bytes, bytes] = {}
        self.limits = limits

    def commit(self, state: State, *, perhaps: bool = False) -> None:
        made = commit(state)
        assert made is not None or perhaps, "nothing was journaled"
        if made is None:
            return
        for key, value in (*made.ahead, *made.batch):
            if value is None:
                self.entities.pop(key, None)
            else:
                self.entities[key] = value

    def body(self, number: int) -> Envelope:
        return event_of(number, self.entities[body_key(number)])

    def recall(self, state: State) -> None:
        """Give what sleeps and is wanted."""
        while numbers := waking.wanted(state, 100):
            apply(state, [BodiesRead([(one, self.body(one)) for one in numbers])], NOW + 1)

    def restore(self, partition: int = 0) -> Restored:
        return restore(self.entities, partition, self.limits, journal_id="j")


def event(topic: str = "orders/created", *, at: int = 0, partition: int = 0, **fields: Any) -> Envelope:
    body = {"topic": topic, "data": {"n": at}} | fields
    return codec.decode(orjson.dumps(body), None, (), partition=partition, offset=at, timestamp_ms=NOW, max_bytes=None)


def defined(workflow_id: str = "w", **options: Any) -> Workflow:
    async def handle(ctx: Any, payload: Any) -> None:
        """Never called here."""

    return workflow(workflow_id, "orders/created", **options)(handle)


def begun(limits: Limits, workflows: Sequence[Workflow], announced: Sequence[Workflow] = ()) -> tuple[State, Journal]:
    state, journal = empty(0, limits, journal_id="j"), Journal(limits)
    apply(state, [WorkflowsLoaded(workflows, [Definition.of(one) for one in announced])], NOW)
    journal.commit(state)
    return state, journal


def test_an_event_that_waits_anew_after_a_takeover_is_still_in_the_journal() -> None:
    filtered = defined(filter=lambda _event: True)
    state, journal = begun(Limits(partitions=1), [filtered])
    apply(state, [EventsRead([event(at=0, key="a"), event(at=1, key="a")], [], 2)], NOW)
    journal.commit(state)

    first = journal.restore().state
    apply(first, [WorkflowsLoaded([filtered], ())], NOW + 1)
    journal.recall(first)  # asks the filter again, and lets the event wait anew
    journal.commit(first, perhaps=True)

    second = journal.restore().state
    assert {name: [journal.body(one).offset for one in numbers] for name, numbers in second.asleep.items()} == {
        "w": [1]
    }


def test_an_event_that_leaves_for_its_batch_elsewhere_after_a_takeover_is_journaled_at_once() -> None:
    limits = Limits(partitions=2)
    names = (f"w{number}" for number in range(9))
    away = defined(next(one for one in names if keys.partition_of(one.encode(), 2) == 1), batch_size=2)
    state, journal = begun(limits, [], [away])
    apply(
        state, [EventsRead([event(key=next(k for k in "abcdef" if keys.partition_of(k.encode(), 2) == 0))], [], 1)], NOW
    )
    journal.commit(state)

    taken = journal.restore().state
    apply(taken, [WorkflowsLoaded([away], ())], NOW + 1)
    journal.recall(taken)
    journal.commit(taken)
    assert [one.topic for outgoing in journal.restore().deliver_again for one in outgoing.records] == ["commands"]


def test_ids_that_were_forgotten_stay_forgotten_after_a_takeover() -> None:
    limits = Limits(partitions=1, dedup_ids=4)
    state, journal = begun(limits, [defined()])
    for number in range(12):
        apply(state, [EventsRead([event("elsewhere", at=number, id=f"e{number}")], [], number + 1)], NOW + number)
        journal.commit(state)
    again = journal.restore().state
    seen = [keys.event_digest("", None, f"e{number}") for number in range(12)]
    live = [any(one.holds(digest) for one in state.dedup.generations) for digest in seen]
    assert live == [any(one.holds(digest) for one in again.dedup.generations) for digest in seen]
    assert live.count(True) == state.dedup.count == again.dedup.count


def test_ids_of_two_generations_in_one_round_are_restored_into_their_own() -> None:
    limits = Limits(partitions=1, dedup_ids=8)
    state, journal = begun(limits, [defined()])
    apply(state, [EventsRead([event("elsewhere", at=n, id=f"e{n}") for n in range(5)], [], 5)], NOW)
    journal.commit(state)
    again = journal.restore().state
    assert [one.count for one in state.dedup.generations] == [2, 2, 1]
    assert [one.count for one in again.dedup.generations] == [2, 2, 1]


async def test_a_second_takeover_finds_what_the_first_one_skipped_as_delivered() -> None:
    limits = Limits(partitions=1)
    cluster = MemoryCluster(1, now_ms=lambda: NOW)
    sender = MemorySender(cluster)
    simple = defined()

    async def owner(name: str) -> tuple[State, Any]:
        log = MemoryLog(0, cluster=cluster, sender=sender)
        taken = await take_over(log, Owner(worker=name, instance_id=name), limits, now_ms=lambda: NOW)
        return taken.state, (log, taken)

    async def round_(state: State, log: MemoryLog, *given: Any) -> Any:
        apply(state, given or [TimePassed()], NOW)
        made = commit(state)
        assert made is not None
        await log.append([Entry(key, value) for key, value in (*made.ahead, *made.batch)])
        return made.outgoing

    state, (log, _) = await owner("first")
    await round_(state, log, WorkflowsLoaded([simple], ()))
    decided = apply(state, [EventsRead([event()], [], 1)], NOW).starts[0]
    outgoing = await round_(state, log, Ended(decided.id, 1, b"1"))
    await log.deliver("results", outgoing.results)  # and dies before the mark is journaled

    state, (log, taken) = await owner("second")
    assert [len(one.results) for one in taken.deliver_again] == [0]
    await round_(state, log, WorkflowsLoaded([simple], ()), EventsRead([event(at=1)], [], 2))  # dies before the mark

    _, (_, taken) = await owner("third")
    assert [one for outgoing in taken.deliver_again for one in outgoing.results] == []


def test_what_was_delivered_at_a_snapshot_is_not_delivered_again_though_no_mark_was_journaled() -> None:
    limits = Limits(partitions=1)
    simple = defined()
    state, journal = begun(limits, [simple])
    started = apply(state, [EventsRead([event()], [], 1)], NOW).starts[0]
    apply(state, [Ended(started.id, 1, b"1")], NOW)
    journal.commit(state)
    apply(state, [Delivered(state.round, 5, 5)], NOW)
    taken = snapshot.decode(snapshot.encode(state, next_offset=9, about={}), policy_of(limits))

    other = journal.restore().state  # another owner, which knows nothing of the mark, and journals none either
    apply(other, [WorkflowsLoaded([simple, defined("late")], ())], NOW)
    before = dict(journal.entities)
    journal.commit(other)
    since = {key: value for key, value in journal.entities.items() if before.get(key) != value}

    for key, value in since.items():
        taken.entities.put(key, value)
    back = restore(taken.entities, 0, limits, journal_id="j", remembered=taken.remembered)
    assert back.deliver_again == []
    apply(back.state, [WorkflowsLoaded([simple, defined("later")], ())], NOW)
    journal.commit(back.state)
    assert journal.restore().deliver_again == []  # whoever comes next must not look for it in a tail that has moved on


def test_a_mark_alone_is_not_worth_a_round() -> None:
    state, _ = begun(Limits(partitions=1), [defined()])
    apply(state, [Delivered(0, 5, 5)], NOW)
    assert commit(state) is None


def sleeping() -> tuple[Partition, str]:
    """A run beside whose function a step sleeps for a second."""
    partition = Partition(defined())
    partition.read(an_event(0))
    run = run_id("w", an_event(0))
    partition.ask(run, "pause", Sleep(until_ms=partition.now + 1_000), aside=True)
    partition.commit()
    return partition, run


def test_a_step_that_ends_just_as_a_function_called_anew_asks_for_it_is_over() -> None:
    partition, run = sleeping()
    again = partition.takeover(defined())
    assert [type(one) for one in again.told()] == [Rise]

    again.give(StepAsked(run, 1, "pause", "Sleep pause", Sleep(until_ms=again.now + 2_000), aside=True), after_ms=1_000)
    again.commit()

    assert again.kinds()["step"] == 1
    assert again.run(run).steps.open == {}  # type: ignore[union-attr]
    assert [type(one) for one in again.told()] == [Resolve]


def test_a_function_that_is_dropped_at_its_next_wait_is_not_called_for_that_again() -> None:
    partition = Partition(defined())
    partition.read(an_event(0))
    run = run_id("w", an_event(0))
    asked = StepAsked(run, 1, "pause", "Sleep pause", Sleep(until_ms=partition.now + 2_000))
    partition.give(asked, Evicted([run]))
    assert partition.run(run).status is RunStatus.COLD


def test_an_event_received_by_a_pattern_is_not_received_by_its_topic_again() -> None:
    partition = Partition(defined())
    partition.read(an_event(0))
    run = run_id("w", an_event(0))
    for key, topic in (("any", "orders/*"), ("paid", "orders/paid")):
        wait = Await(conditions=(EventCondition(topic=topic),), need=1, deadline_ms=None)
        partition.ask(run, key, wait)
        partition.commit()
        partition.read(an_event(1, "orders/paid"))
        while looks := lookbacks.take(partition.state):
            partition.give(*(LookedBack(one.number, [], done=True) for one in looks))
        partition.commit()
    assert list(partition.run(run).steps.open) == ["paid"]  # type: ignore[union-attr]


def test_an_event_that_a_wait_got_in_vain_is_there_for_the_next_one() -> None:
    partition = Partition(defined())
    partition.read(an_event(0))
    run = run_id("w", an_event(0))
    both = (EventCondition(topic="orders/paid"), Sleep(until_ms=partition.now + 9_000))
    partition.ask(run, "both", Await(conditions=both, need=2, deadline_ms=partition.now + 5_000))
    partition.read(an_event(1, "orders/paid"))
    while looks := lookbacks.take(partition.state):
        partition.give(*(LookedBack(one.number, [], done=True) for one in looks))
    steps = partition.run(run).steps
    assert steps is not None
    assert (steps.open, steps.received, steps.had) == ({}, None, [])


def test_what_met_too_many_waits_for_a_round_goes_before_what_comes_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(1)
    for run in ("a:1", "b:1"):
        world.register(0, "approvals/7", run=run)
    world.settle()
    monkeypatch.setattr(waits, "MOST_A_ROUND", 1)
    world.produce(0, "approvals/7", "first")
    world.round(0)
    world.produce(0, "approvals/7", "second")
    world.settle()
    assert [(run, data) for run, _, _, data in world.outcomes] == [("a:1", "first"), ("b:1", "first")]


def test_a_stuck_run_that_is_cancelled_is_stuck_no_more() -> None:
    partition = Partition(defined())
    partition.read(an_event(0))
    run = run_id("w", an_event(0))
    partition.ask(run, "pause", Sleep(until_ms=partition.now + 1_000))
    partition.commit()
    partition.give(Ended(run, 1, None, Failure("HistoryMismatch", "it asks for another step", None, stuck=True)))
    partition.commit()
    effects = Effects()
    wishes.cancel(partition.state, run, "somebody wanted it", effects)
    assert partition.state.stuck == {}
    partition.commit()
    assert run in partition.state.fates
    assert partition.takeover(defined()).state.stuck == {}


async def started(driver: Driver, fn: Any) -> Run:
    """Start a run of a function; nobody is to hear of it."""
    run = Run(f"{fn.__name__}:00", workflow(fn.__name__, "orders/created")(fn), (an_event(0),), None, None, NOW)
    await driver.start([run], lambda told: pytest.fail(f"{told} was reported"))
    return run


@pytest_asyncio.fixture
async def driver() -> AsyncIterator[Driver]:
    made = Driver(limits=StepLimits(partitions=1), threads=1)
    yield made
    made.close()


async def test_a_plain_function_that_is_cancelled_before_its_first_step_gives_its_thread_back(driver: Driver) -> None:
    began, gate, over = threading.Event(), threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def slow(ctx: Any, payload: Any) -> None:
        began.set()
        gate.wait(20)
        try:
            ctx.step.sleep("pause", 3_600)
        except BaseException as error:
            raised.append(error)
            raise
        finally:
            over.set()

    run = await started(driver, slow)
    assert await asyncio.to_thread(began.wait, 20)
    driver.cancel([run])
    gate.set()
    assert await asyncio.to_thread(over.wait, 20)
    assert [type(one) for one in raised] == [Pause]


async def test_a_plain_function_that_is_cancelled_while_it_waits_for_a_thread_does_not_begin(driver: Driver) -> None:
    gate, over = threading.Event(), threading.Event()
    begun: list[str] = []

    def first(ctx: Any, payload: Any) -> None:
        begun.append("first")
        gate.wait(20)

    def second(ctx: Any, payload: Any) -> None:
        begun.append("second")

    held, waits = await started(driver, first), await started(driver, second)
    driver.cancel([waits])
    behind = driver._threads.call_workflow(over.set)
    driver.cancel([held])
    gate.set()
    await behind
    assert begun == ["first"]


async def test_a_function_that_goes_on_though_it_was_cancelled_gets_no_step(driver: Driver) -> None:
    raised: list[BaseException] = []
    over = asyncio.Event()

    async def stubborn(ctx: Any, payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await ctx.step.sleep("pause", 3_600)
            except HeadgateError as error:
                raised.append(error)
            over.set()

    run = await started(driver, stubborn)
    driver.cancel([run])
    async with asyncio.timeout(20):
        await over.wait()
    assert "after run 'stubborn:00' was stopped here" in str(raised[0])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")


def test_a_run_that_is_dropped_before_it_is_journaled_leaves_the_journal_when_it_ends() -> None:
    # Its function was dropped in the round in which it began: its record was written, and nobody knew of it.
    assert run_seed(3991) is None

"""Look-backs over a log: what counts, what comes twice, how it is given; and where a topic ends."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.engine.effects import Resolve
from app.engine.inputs import CaughtUp, Input, LookedBack, StepAsked, WorkflowsLoaded
from app.engine.tables.registry import FlushAsked, Interest, InterestLook, Look, WaitsLook
from app.engine.tables.state import State, empty
from app.engine.values.asks import Await, EventCondition
from app.engine.values.limits import Limits
from app.kafka.log import Entry
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import MemoryCluster
from app.pump import lookback
from app.pump.around import Bounds
from app.pump.pump import Pump
from tests.unit.app.engine.partition import event as an_event
from tests.unit.app.engine.world import wait_for
from tests.unit.app.pump.conftest import defined, event, settle
from topics import asked, codec, commands, keys

NOW = 1_700_000_000_000


class Logs:
    """Partition 0 of three, and what its look-backs gave to the engine."""

    def __init__(self) -> None:
        self.now = NOW
        self.sequence = 0
        self.cluster = MemoryCluster(3, now_ms=lambda: self.now)
        self.state: State = empty(0, Limits(partitions=3), journal_id="j")
        self.noted: list[Input] = []
        self.log = MemoryLog(0, cluster=self.cluster, sender=MemorySender(self.cluster), fetch_records=4)
        self.lookback = lookback.LookBack(self.state, self.log, self.noted.append, event_bytes=10_000)
        self.task = asyncio.create_task(self.lookback.run())

    def event(self, data: Any, topic: str = "approvals/1", after_ms: int = 1, **fields: Any) -> None:
        self.now += after_ms
        value = orjson.dumps({"topic": topic, "data": data} | fields)
        self.cluster.produce("events", 0, [Entry(None, value)])

    def command(self, *asks: asked.Ask, events: Any = (), after_ms: int = 1, again: bool = False) -> None:
        self.now += after_ms
        self.sequence += not again
        value = commands.encode(
            source=1, journal_id="j", sequence=self.sequence, partitions=3, events=events, batched=[], asks=asks
        )
        self.cluster.produce("commands", 0, [Entry(None, value)])

    async def look(self, *looks: Look) -> None:
        self.state.lookbacks = list(looks)
        self.lookback.offer()
        for _ in range(500):
            await asyncio.sleep(0)
            self.lookback.offer()  # a round

    def found(self, number: int = 1) -> list[Any]:
        given = [one for one in self.noted if isinstance(one, LookedBack) and one.number == number]
        assert [one.done for one in given] == [False] * (len(given) - 1) + [True]
        return [event.data for one in given for event in one.arrivals]


@pytest.fixture
async def logs() -> Any:
    made = Logs()
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


def ends(logs: Logs) -> dict[str, Any]:
    return {
        "events_end": logs.cluster.partition("events", 0).end,
        "commands_end": logs.cluster.partition("commands", 0).end,
    }


def of_interest(logs: Logs, number: int = 1, since_ms: int = NOW, **changed: Any) -> InterestLook:
    interest = Interest(1, ("approvals", True), since_ms, 0, 0)
    about: dict[str, Any] = {
        "number": number,
        "since_ms": since_ms,
        "interest": interest,
        "before_ms": None,
        "partitions": 3,
    }
    return InterestLook(**(about | ends(logs) | changed))


def of_waits(logs: Logs, *topics: str, number: int = 1, since_ms: int = NOW) -> WaitsLook:
    look = WaitsLook(number=number, since_ms=since_ms, **ends(logs))
    for n, topic in enumerate(topics):
        look.join(wait_for(topic, n=n, since_ms=since_ms))
    return look


def elsewhere() -> Iterator[str]:
    return (name for name in map("k{}".format, range(99)) if keys.partition_of(name.encode(), 3) != 0)


def other(data: Any, at: int = NOW + 1) -> Any:
    """An event that landed at another partition."""
    value = orjson.dumps({"topic": "approvals/1", "data": data})
    return codec.decode(value, None, (), partition=2, offset=int(at - NOW), timestamp_ms=at, max_bytes=None)


async def test_an_interest_finds_what_lives_here_and_came_in_its_time(logs: Logs) -> None:
    logs.event("before")
    since = logs.now + 1
    logs.event("first")
    logs.event("another topic", "orders")
    logs.event("forwarded", key=next(elsewhere()))
    logs.cluster.produce("events", 0, [Entry(None, b"not an event")])
    logs.cluster.produce("commands", 0, [Entry(None, b"not a command")])
    logs.command(asked.Notice(other("a notice", at=since)), events=[other("from elsewhere", at=since)])
    look = of_interest(logs, since_ms=since)
    logs.event("after the look-back's end")
    await logs.look(look)
    assert logs.found() == ["first", "from elsewhere"]


async def test_waits_find_what_they_were_told_too(logs: Logs) -> None:
    logs.event("own")
    logs.command(asked.Notice(other("told")), asked.Flush(1))
    await logs.look(of_waits(logs, "approvals/1", "orders"))
    assert logs.found() == ["own", "told"]


async def test_a_command_that_is_stamped_earlier_than_its_event_is_read_too(logs: Logs) -> None:
    logs.command(asked.Notice(other("told", at=NOW + 30_000)))
    await logs.look(of_waits(logs, "approvals/1", since_ms=NOW + 20_000))
    assert logs.found() == ["told"]


async def test_an_event_that_came_twice_is_found_once(logs: Logs) -> None:
    home = next(f"e{n}" for n in range(99) if keys.partition_of(f"e{n}".encode(), 3) == 0)
    for data in ("first", "again"):
        logs.event(data, id=home)
    logs.event("after the window", after_ms=logs.state.limits.dedup_window_ms + 1, id=home)
    await logs.look(of_interest(logs))
    assert logs.found() == ["first", "after the window"]


async def test_one_way_through_the_log_serves_all(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    logs.event(1)
    logs.event(2)
    reads: list[str] = []
    before = logs.log.read

    def read(topic: str, start: int, end: int) -> Any:
        reads.append(topic)
        return before(topic, start, end)

    monkeypatch.setattr(logs.log, "read", read)
    await logs.look(of_interest(logs), of_interest(logs, 2, NOW + 2), of_waits(logs, "approvals/1", number=3))
    assert [logs.found(1), logs.found(2), logs.found(3)] == [[1, 2], [2], [1, 2]]
    assert reads == ["events"]


async def test_nothing_to_read_is_done_at_once(logs: Logs) -> None:
    await logs.look(of_interest(logs))
    assert logs.found() == []


async def test_much_is_given_in_slices_one_a_round(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookback, "SLICE_EVENTS", 3)
    for number in range(20):
        logs.event(number)
    await logs.look(of_interest(logs))
    slices = [len(one.arrivals) for one in logs.noted if isinstance(one, LookedBack)]
    assert logs.found() == list(range(20))
    assert max(slices) <= 4
    assert len(slices) > 4


async def ended(logs: Logs) -> list[Input]:
    logs.state.questions += 1
    logs.state.flushes[1] = FlushAsked(7, -1, logs.state.questions)
    await logs.look()
    given = logs.noted[:]
    logs.noted.clear()
    return given


async def test_the_ends_are_those_behind_the_last_records(logs: Logs) -> None:
    assert await ended(logs) == [CaughtUp(1, 0, 0)]
    for number in range(5):
        logs.event(number)
    logs.command(asked.Flush(1))
    assert await ended(logs) == [CaughtUp(2, 5, 1)]
    for _ in range(40):
        producer = logs.cluster.init_producer("gap")
        logs.cluster.add_to_transaction("gap", producer, [("events", 0)])
        logs.cluster.end_transaction("gap", producer, commit=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert logs.cluster.partition("events", 0).end > 40
    assert await ended(logs) == [CaughtUp(3, 5, 1)]
    logs.state.events_offset, logs.state.commands_offset = 5, 1
    assert await ended(logs) == [CaughtUp(4, 5, 1)]


# --- whole pumps ----------------------------------------------------------------------------------------------------


class Two:
    """Both partitions of a cluster, each with its pump, and what is fetched for them."""

    def __init__(self, room: Any) -> None:
        self.room = room
        room.runtime.slow.add("w")
        self.pumps: list[Pump] = []
        self.read: dict[tuple[str, int], int] = {}

    async def start(self) -> None:
        for number in range(2):
            log = self.room.log(number)
            taken = await self.room.take(log, f"owner-{number}")
            pump = Pump(
                taken.state,
                log,
                self.room.runtime,
                self.room.clock,
                next_journal_offset=taken.next_journal_offset,
                bounds=Bounds(),
            )
            pump.workflows_changed(WorkflowsLoaded([defined()], []))
            self.pumps.append(pump)
            self.room.run(pump)
        await self.go()

    async def go(self) -> None:
        """Fetch and let everything happen until there is nothing more."""
        for _ in range(12):
            for number, pump in enumerate(self.pumps):
                for topic, offer in (("events", pump.offer_events), ("commands", pump.offer_commands)):
                    if records := self.room.cluster.read(topic, number)[self.read.get((topic, number), 0) :]:
                        self.read[topic, number] = self.read.get((topic, number), 0) + len(records)
                        await offer(records)
                pump._wake.set()
            await settle()

    def ask(self, deadline_ms: int | None = None, **condition: Any) -> str:
        """Let the run that was started wait for an event."""
        run_id: str = self.room.runtime.started[-1]
        ask = Await(conditions=(EventCondition(**condition),), need=1, deadline_ms=deadline_ms)
        self.room.runtime.reports[run_id](StepAsked(run_id, 1, "approval", "it", ask))
        return run_id

    def told(self) -> list[Any]:
        return [
            one.outcome.fault.type if one.outcome.fault else orjson.loads(one.outcome.value or b"")["event"]["value"]
            for one in self.room.runtime.told
            if isinstance(one, Resolve)
        ]


@pytest.mark.parametrize(("run", "landing"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("topic", ["approvals/1", "approvals/2", "approvals/*"])
@pytest.mark.parametrize("early", [False, True])
async def test_a_run_waits_and_is_told_of_its_event(room: Any, run: int, landing: int, topic: str, early: bool) -> None:
    two = Two(room)
    await two.start()
    room.produce(event(), partition=run)
    await two.go()
    approved = Entry(None, orjson.dumps({"topic": topic.replace("*", "3"), "data": "yes"}))
    if early:
        room.produce(approved, partition=landing)
        await two.go()
    two.ask(topic=topic)
    await two.go()
    if not early:
        assert two.told() == []
        room.produce(approved, partition=landing)
        await two.go()
    assert two.told() == [(approved.value or b"").decode()]
    assert all(not pump.state.registry.waits for pump in two.pumps if pump.state.registry is not None)


async def test_a_run_is_told_that_its_time_is_over(room: Any) -> None:
    two = Two(room)
    await two.start()
    room.produce(event(), partition=1)
    await two.go()
    two.ask(room.clock.ms + 5_000, topic="approvals/1")
    await two.go()
    room.clock.ms += 4_999
    await two.go()
    assert two.told() == []
    room.clock.ms += 1
    await two.go()
    assert two.told() == ["EventTimeout"]


async def test_a_command_that_came_again_tells_nothing_new(logs: Logs) -> None:
    logs.command(asked.Notice(other("first")), asked.Notice(other("second", NOW + 2)))
    logs.command(asked.Notice(other("first")), asked.Notice(other("second", NOW + 2)), again=True)
    logs.command(asked.Notice(other("third", NOW + 3)))
    await logs.look(of_waits(logs, "approvals/1"))
    assert logs.found() == ["first", "second", "third"]


def test_what_a_look_back_remembers_is_bounded_and_only_of_ids_that_producers_chose() -> None:
    look = WaitsLook(number=1, since_ms=NOW, events_end=1_000, commands_end=0)
    look.join(wait_for("orders/created", since_ms=NOW))
    scan = lookback._Scan([look], Limits(partitions=1, dedup_ids=40))
    for offset in range(100):
        scan.add(an_event(offset), "events", offset)
    assert (len(scan.take()[0][1]), len(scan._seen)) == (100, 0)
    for offset in range(100, 300):
        scan.add(an_event(offset, id=f"e{offset // 2}"), "events", offset)
        if offset % 10 == 9:
            assert len(scan.take()[0][1]) == 5
        assert len(scan._seen) <= 40


@pytest.mark.parametrize(("busy_ms", "turns"), [(0, 10), (60, 6), (100_000, 2)])
async def test_while_others_take_long_a_look_back_looks_at_more_in_its_turn(
    logs: Logs, busy_ms: int, turns: int
) -> None:
    now = [0]

    def now_ms() -> int:
        now[0] += busy_ms
        return now[0]

    logs.log = MemoryLog(0, cluster=logs.cluster, sender=MemorySender(logs.cluster), fetch_records=2_000)
    served = lookback.LookBack(logs.state, logs.log, logs.noted.append, event_bytes=10_000, now_ms=now_ms)
    waited = 0

    async def let_others() -> int:
        nonlocal waited
        waited += 1
        return await type(served)._let_others(served)

    served._let_others = let_others  # type: ignore[method-assign] # counted
    for number in range(2_000):
        logs.event(number, "orders")
    await served._scan([of_interest(logs)])

    assert waited == turns

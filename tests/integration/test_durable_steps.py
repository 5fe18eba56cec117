"""Steps of authors' functions through driver, engine and pump, over a log in memory; workers that stop anywhere."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.engine.inputs import WorkflowsLoaded
from app.kafka.memory import MemoryLog
from app.pump.around import Bounds
from app.pump.pump import Pump
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from headgate import RetryLater, StepError, workflow
from headgate.definition import Workflow
from tests.unit.app.pump.conftest import Room, event

KEY = "k4"  # its home is partition 0 of two


class Worker:
    """Owner of partition 0, with a driver of its own."""

    def __init__(self, room: Room, flow: Workflow, name: str, *, suspended: int = 100) -> None:
        self.room = room
        self.flow = flow
        self.name = name
        self.driver = Driver(
            limits=StepLimits(partitions=2, suspended=suspended, send_allowed=lambda topic: topic == "answers"),
            threads=2,
            now_ms=room.clock.now_ms,
        )
        self.pump: Pump
        self.task: asyncio.Task[None]

    async def start(self) -> "Worker":
        log: MemoryLog = self.room.log()
        taken = await self.room.take(log, self.name)
        self.pump = Pump(
            taken.state,
            log,
            self.driver,
            self.room.clock,
            next_journal_offset=taken.next_journal_offset,
            bounds=Bounds(),
            deliver_again=taken.deliver_again,
            recall=taken.recall,
        )
        self.pump.workflows_changed(WorkflowsLoaded([self.flow], ()))
        self.task = self.room.run(self.pump)
        await self.until(lambda: self.flow.id in self.pump.state.known)
        return self

    async def send(self, number: int = 0, **fields: Any) -> None:
        records = self.room.produce(event(number, **({"id": f"e{number}", "key": KEY} | fields)))
        await self.pump.offer_events(records[-1:])

    async def kill(self) -> None:
        """Stop at once, whatever goes on."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.driver.close()

    async def pass_time(self, seconds: float) -> None:
        self.room.clock.ms += int(seconds * 1000)
        self.pump.resume()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.001)

    async def result(self) -> Any:
        await self.until(lambda: self.room.values("results"))
        (found,) = self.room.values("results")
        return found

    def waits(self) -> bool:
        return [one.status.value for one in self.pump.state.runs.values()] == ["waiting"]


@pytest.fixture
def room() -> Iterator[Room]:
    found = Room()
    yield found
    found.close()


def flow(fn: Callable[..., Any], **options: Any) -> Workflow:
    made: Workflow = workflow(fn.__name__, "orders/created", **options)(fn)
    return made


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_steps_run_once_each_over_a_takeover_between_them(room: Room, plain: bool) -> None:
    called: list[str] = []

    def pay(what: str, idempotency_key: str) -> str:
        called.append(what)
        return idempotency_key

    async def order(ctx: Any) -> Any:
        first = await ctx.step.run("first", pay, "first")
        made = [await ctx.step.uuid("id"), await ctx.step.random("chance"), (await ctx.step.now("now")).isoformat()]
        await ctx.step.publish_event("tell", topic="told", data=made)
        await ctx.step.sleep("night", 3600)
        second = await ctx.step.run("second", pay, "second")
        return [first, second, ctx.attempt, *made]

    def order_plainly(ctx: Any) -> Any:
        first = ctx.step.run("first", pay, "first")
        made = [ctx.step.uuid("id"), ctx.step.random("chance"), ctx.step.now("now").isoformat()]
        ctx.step.publish_event("tell", topic="told", data=made)
        ctx.step.sleep("night", 3600)
        second = ctx.step.run("second", pay, "second")
        return [first, second, ctx.attempt, *made]

    made = flow(order_plainly if plain else order)
    first = await Worker(room, made, "first").start()
    await first.send()
    await first.until(first.waits)
    await first.kill()

    second = await Worker(room, made, "second").start()
    await second.until(lambda: second.pump.state.runs)
    assert called == ["first"]
    await second.pass_time(3600)
    result = await second.result()

    assert (result["status"], called) == ("completed", ["first", "second"])
    run_id = result["run_id"]
    assert result["result"][:2] == [f"{run_id}:first", f"{run_id}:second"]
    everything = [*room.values("events"), *room.values("events", 1)]
    told = {one["id"]: one["data"] for one in everything if one["topic"] == "told"}
    assert told == {f"{run_id}:tell": result["result"][3:]}
    assert result["result"][2] == 1


async def test_a_step_is_tried_again_at_its_time_and_its_failure_is_what_it_was_after_a_takeover(room: Room) -> None:
    called: list[int] = []

    async def flaky() -> None:
        called.append(1)
        if len(called) == 1:
            raise RetryLater(30)
        raise ValueError("no luck")

    async def careful(ctx: Any) -> Any:
        try:
            await ctx.step.run("pay", flaky, max_retries=1)
        except StepError as error:
            caught = str(error)
        await ctx.step.sleep("night", 60)
        return caught

    made = flow(careful)
    first = await Worker(room, made, "first").start()
    await first.send()
    await first.until(lambda: called and first.waits())
    assert len(called) == 1
    await first.pass_time(30)
    await first.until(lambda: len(called) == 2 and first.waits())
    await first.kill()
    second = await Worker(room, made, "second").start()
    await second.pass_time(60)
    result = await second.result()

    assert result["result"] == "step 'pay' failed with ValueError: no luck; catch StepError to go on without it"
    assert len(called) == 2


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_run_that_was_dropped_is_called_again_by_the_same_worker(room: Room, plain: bool) -> None:
    called: list[int] = []

    async def patient(ctx: Any) -> Any:
        called.append(1)
        await ctx.step.sleep("night", 60)
        return len(called)

    def patient_plainly(ctx: Any) -> Any:
        called.append(1)
        ctx.step.sleep("night", 60)
        return len(called)

    worker = await Worker(room, flow(patient_plainly if plain else patient), "first", suspended=0).start()
    await worker.send()
    await worker.until(lambda: [one.status.value for one in worker.pump.state.runs.values()] == ["cold"])
    await worker.pass_time(60)

    assert (await worker.result())["result"] == 2


async def test_code_that_changed_is_stuck_and_says_what_was_recorded_and_attempted(room: Room) -> None:
    async def order(ctx: Any) -> None:
        await ctx.step.run("first", int)
        await ctx.step.sleep("night", 60)

    first = await Worker(room, flow(order), "first").start()
    await first.send()
    await first.until(first.waits)
    await first.kill()

    async def changed(ctx: Any) -> None:
        await ctx.step.suspend("first")

    second = await Worker(room, workflow("order", "orders/created")(changed), "second").start()
    await second.pass_time(60)
    await second.until(lambda: second.pump.state.stuck)

    (why,) = second.pump.state.stuck.values()
    assert "asks in step 'first' for suspend, recorded is run" in str(why)
    assert room.values("results") == []


async def test_what_is_sent_goes_to_its_kafka_topic_and_one_that_is_not_allowed_fails_the_run_at_once(
    room: Room,
) -> None:
    async def sends(ctx: Any) -> None:
        await ctx.step.send("ask", "answers", {"n": 1}, record_key="k", headers={"h": "v"})
        await ctx.step.send("more", "elsewhere", b"")

    room.cluster.create("answers", 1)
    worker = await Worker(room, flow(sends), "first").start()
    await worker.send()
    result = await worker.result()

    assert (result["status"], result["error"]["type"], result["attempts"]) == ("failed", "Misuse", 1)
    assert "may not send to the Kafka topic 'elsewhere'; add it to replies.allowed_topics" in result["error"]["message"]
    sent = room.cluster.read("answers", 0)
    assert [(one.key, one.value) for one in sent] == [(b"k", b'{"n":1}')]
    assert dict(sent[0].headers)["h"] == b"v"

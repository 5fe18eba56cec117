"""A process of connectors before it has met Kafka: what it may do with partitions that come and go."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.wiring.virtual import VirtualLoop
from connectors.base.closing import end
from connectors.base.contract import Item, Site
from connectors.base.fleet.process import Connectors, Process
from connectors.base.instance.events import Outgoing
from connectors.base.instance.runner import Runner
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from tests.unit.connectors.base.framed import Framed, Use, event, for_ever, spec
from tests.unit.connectors.base.owned import Owned, said
from topics.sources import partition_of


def process(*, drain_seconds: float = 1.0) -> Connectors:
    return Connectors(
        Process(
            name="me",
            prefix="",
            client={},
            group="g",
            policy=Policy(),
            folders=Folders(),
            secrets_folder=None,
            secret_names=("*",),
            event_bytes=1,
            session_seconds=60.0,
            dwell_seconds=0.0,
            drain_seconds=drain_seconds,
        )
    )


def give(connectors: Connectors, *partitions: int) -> None:
    """The group gives partitions, as the broker has just answered."""
    connectors._group._synced_at = connectors.lease.now()
    connectors._group.take(frozenset(partitions))


async def is_done(task: "asyncio.Task[Any]") -> bool:
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_nothing_is_done_for_a_partition_that_the_group_has_given_to_another() -> None:
    connectors = process()
    give(connectors, 1, 2)
    assert await is_done(asyncio.create_task(connectors._held(1)))

    give(connectors, 2)  # its sources are still being ended
    held, confirmed = (asyncio.create_task(one) for one in (connectors._held(1), connectors._confirmed(1)))
    assert connectors.lease.held
    assert not await is_done(held)
    assert not await is_done(confirmed)

    give(connectors, 1)
    assert await is_done(held)
    assert await is_done(confirmed)


class Publisher:
    """Notes what is written. `before` is called first."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes, bytes | None]] = []
        self.events: list[Outgoing] = []
        self.before: Callable[[], None] = lambda: None

    async def partitions(self, _topic: str) -> int:
        return 16

    async def write(self, topic: str, key: bytes, value: bytes | None) -> None:
        self.before()
        self.written.append((topic, key, value))

    async def publish(self, events: Sequence[Outgoing]) -> None:
        self.events += events


def with_publisher() -> tuple[Connectors, Publisher]:
    connectors, publisher = process(), Publisher()
    connectors.publisher = cast("Any", publisher)
    return connectors, publisher


def runs(connectors: Connectors, partition: int, name: str) -> Runner:
    """Let a source that a run has set up be connected in a partition."""
    runner = Framed(replace(spec(), id=name, origin="run r")).runner
    runner.watched.connected()
    owner = SimpleNamespace(runners={name: runner}, runner={name: runner}.get)
    connectors._owners[partition] = cast("Any", (owner, None))
    return runner


async def test_a_partition_that_goes_while_its_source_is_told_of_holds_up_no_others() -> None:
    connectors, publisher = with_publisher()
    give(connectors, 1, 2)
    first, second = runs(connectors, 1, "first"), runs(connectors, 2, "second")
    publisher.before = lambda: give(connectors, 2)  # for good

    telling = asyncio.create_task(connectors._tell_for_ever())
    while len(publisher.written) < 2:  # noqa: ASYNC110 the process tells by itself
        await asyncio.sleep(0.01)
    telling.cancel()

    assert [("sources", b"first"), ("sources", b"second")] == [one[:2] for one in publisher.written]
    assert [b"second"] == [one.key for one in publisher.events]
    assert first.told is None  # told once it is ours again
    assert first.watched.changed
    assert second.told is not None


async def test_what_was_removed_is_taken_back_by_the_owner_of_its_partition_alone() -> None:
    connectors, publisher = with_publisher()
    home = partition_of("gone", 16)
    give(connectors, (home + 1) % 16)
    connectors._gone.append("gone")
    await connectors._tell_gone()
    assert publisher.written == []

    give(connectors, home)
    connectors._gone.append("gone")
    await connectors._tell_gone()
    assert [("sources", b"gone", None)] == publisher.written


@pytest.mark.parametrize(
    ("back_after_seconds", "drained_after_seconds", "published", "position"),
    [(9.5, 9.5, 3, 3), (10.5, 10.0, 0, None)],
    ids=["Kafka is back before the limit", "Kafka is back after it"],
)
def test_a_process_that_stops_waits_for_kafka_as_long_as_it_is_told(
    scripted: Use, back_after_seconds: float, drained_after_seconds: float, published: int, position: int | None
) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        for number in (1, 2, 3):
            yield event(number, position=number)
        await for_ever()

    scripted(reads)
    connectors, made, loop = process(drain_seconds=10.0), Owned(), VirtualLoop()
    made.framed.broker.back.clear()
    owning = loop.create_task(made.owner.run())
    connectors._owners[3] = (made.owner, owning)
    made.owner.read([said(0, spec())])
    made.owner.caught_up()
    loop.settle()

    async def stop() -> float:
        await connectors._drain()
        await end([owning])
        return loop.time()

    stopping = loop.create_task(stop())
    loop.call_later(back_after_seconds, made.framed.broker.back.set)
    loop.run_to(20.0)
    loop.close()

    stored = made.stored.get("src")
    assert stopping.result() == drained_after_seconds
    assert len(made.framed.broker.events) == published
    assert (None if stored is None else stored.position) == position

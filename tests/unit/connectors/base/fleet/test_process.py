"""A process of connectors before it has met Kafka: what it may do with partitions that come and go."""

import asyncio
from typing import Any

from connectors.base.fleet.process import Connectors, Process
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders


def process() -> Connectors:
    return Connectors(
        Process(
            name="me",
            prefix="",
            client={},
            group="g",
            policy=Policy(),
            folders=Folders(),
            secrets_folder=None,
            event_bytes=1,
            session_seconds=60.0,
            dwell_seconds=0.0,
            drain_seconds=1.0,
        )
    )


async def is_done(task: "asyncio.Task[Any]") -> bool:
    for _ in range(10):
        await asyncio.sleep(0)
    return task.done()


async def test_nothing_is_done_for_a_partition_that_the_group_has_given_to_another() -> None:
    connectors = process()
    connectors._group.take(frozenset({1, 2}))
    assert await is_done(asyncio.create_task(connectors._held(1)))

    connectors._group.take(frozenset({2}))  # its sources are still being ended
    held, confirmed = (asyncio.create_task(one) for one in (connectors._held(1), connectors._confirmed(1)))
    assert connectors.lease.held
    assert not await is_done(held)
    assert not await is_done(confirmed)

    connectors._group.take(frozenset({1}))
    assert await is_done(held)
    assert await is_done(confirmed)

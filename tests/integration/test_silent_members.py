"""Processes of connectors that end without a word: for how long the others wait, on a real broker.

Sessions are of five minutes here, more than any test lasts: what comes to an end does so by the bound of a rebalance.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.protocol.group import JoinGroupRequest

from app.kafka.embedded import EmbeddedKafka
from connectors.base.closing import end
from connectors.base.fleet import group
from tests.integration.connecting import Installation, until

SESSION_SECONDS = 300.0
EVERYTHING = frozenset(range(16))


class Member(group.Group):
    """One member, which can end as a process does that is killed."""

    def __init__(self, place: Installation) -> None:
        super().__init__(
            f"{place.prefix}triggers",
            client=place.client,
            group=f"{place.prefix}connectors",
            lease=group.Lease(SESSION_SECONDS),
            session_seconds=SESSION_SECONDS,
            dwell_seconds=0.0,
            owned=self._nothing,
            read=self._read_nothing,
        )
        self.joins = 0
        self._client_of_it: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None

    async def _nothing(self, _partitions: Sequence[int]) -> None:
        """No source is set up."""

    async def _read_nothing(self, partition: int, records: Sequence[Any], *, whole: bool) -> None:
        """No source is set up."""

    def _made(self) -> AIOKafkaConsumer:
        self._client_of_it = made = super()._made()
        return made

    def _beat_with(self, consumer: AIOKafkaConsumer) -> None:
        super()._beat_with(consumer)
        send = consumer._coordinator._send_req

        async def counted(request: Any) -> Any:
            self.joins += isinstance(request, JoinGroupRequest)
            return await send(request)

        consumer._coordinator._send_req = counted

    def begin(self) -> None:
        self._task = asyncio.create_task(self.run())

    async def die(self) -> None:
        """End, and tell the broker nothing."""
        assert self._client_of_it is not None
        assert self._task is not None
        self._client_of_it._coordinator._group_instance_id = "static"  # such members leave no group
        await end([self._task])


@asynccontextmanager
async def members(place: Installation, count: int) -> AsyncIterator[list[Member]]:
    made = [Member(place) for _ in range(count)]
    try:
        yield made
    finally:
        await end([one._task for one in made if one._task is not None])


async def share(first: Member, second: Member) -> None:
    first.begin()
    second.begin()
    await until(lambda: len(first.partitions) == len(second.partitions) == 8, what="they share")


async def test_a_process_that_is_started_anew_does_not_wait_for_the_session_of_the_one_that_died(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "REBALANCE_SHARE", 3 / SESSION_SECONDS)
    async with members(Installation(kafka, kafka_prefix), 3) as (first, second, third):
        await share(first, second)
        await first.die()
        third.begin()
        await until(lambda: second.partitions | third.partitions == EVERYTHING, what="the others have everything")


async def test_a_process_that_dies_amidst_a_rebalance_is_not_waited_for_until_its_session_ends(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "REBALANCE_SHARE", 3 / SESSION_SECONDS)
    async with members(Installation(kafka, kafka_prefix), 3) as (first, second, third):
        await share(first, second)
        await first.die()
        joined = second.joins
        third.begin()
        await until(lambda: second.joins > joined, what="the second has asked to join again")
        await second.die()
        await until(lambda: third.partitions == EVERYTHING, what="the third has everything")

"""The lease: how long a member may act on the broker's last word."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.protocol.group import SyncGroupRequest

from app.settings import Settings
from connectors.base.fleet.group import HEARTBEAT_SECONDS, Group, Lease, _Listener, rebalance_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_lease_ends_when_the_broker_has_not_answered_in_time() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    held = [lease.held]
    lease.renew(100.0)
    for now in (105.9, 106.1):
        clock.now = now
        held.append(lease.held)

    assert [False, True, False] == held


async def test_time_counts_from_the_question_and_not_from_the_answer() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    clock.now = 110.0
    lease.renew(101.0)

    assert not lease.held


async def test_whoever_waits_goes_on_when_it_is_renewed() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    waiting = asyncio.create_task(lease.wait())
    await asyncio.sleep(0)
    lease.renew(50.0)  # an old answer
    await asyncio.sleep(0)
    assert not waiting.done()
    lease.renew(100.0)

    await asyncio.wait_for(waiting, 5)


async def test_a_held_lease_is_not_confirmed_before_the_broker_speaks_again() -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    lease.renew(100.0)
    confirmed = asyncio.create_task(lease.confirmed())
    await asyncio.sleep(0)
    assert not confirmed.done()
    lease.renew(99.0)  # what was asked before says nothing of now
    await asyncio.sleep(0)
    assert not confirmed.done()
    lease.renew(101.0)

    await asyncio.wait_for(confirmed, 5)
    lease.drop()
    assert not lease.held


class Cluster:
    """What the broker tells of topics."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def partitions_for_topic(self, _topic: str) -> set[int] | None:
        return set(range(self._partitions)) or None


def member(*, owns: Sequence[int] = (), raw: bytes | None = None) -> Any:
    ages = orjson.dumps({str(partition): 100.0 for partition in owns})
    return ConsumerProtocolMemberMetadata(0, ["triggers"], ages if raw is None else raw)


def made(lease: Lease) -> Group:
    async def unused(*_: Any, **__: Any) -> None:
        raise AssertionError

    return Group(
        "triggers",
        client={},
        group="g",
        lease=lease,
        session_seconds=6.0,
        dwell_seconds=0.0,
        owned=unused,
        read=unused,
    )


def assigned(cluster: Cluster, members: Mapping[str, Any]) -> dict[str, list[int]]:
    found = made(Lease(6.0))._assignor().assign(cluster, members)
    return {name: sorted(one.assignment[0][1]) for name, one in found.items()}


async def test_everything_stays_where_it_is_while_brokers_do_not_know_of_the_topic() -> None:
    members = {"a": member(owns=[0, 1, 2, 3]), "b": member(owns=[4, 5, 6, 7])}

    assert {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]} == assigned(Cluster(0), members) == assigned(Cluster(8), members)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'"x"', '{"\u00b2": 1}'.encode(), b'{"99999999999": 1, "-1": 2, "a": 3, "0": "old"}']
)
async def test_a_member_that_says_nonsense_owns_nothing_and_harms_nobody(raw: bytes) -> None:
    found = assigned(Cluster(4), {"a": member(owns=[0, 1]), "odd": member(raw=raw)})

    assert {"a": [0, 1], "odd": [2, 3]} == found


@pytest.mark.parametrize(("frozen_seconds", "held"), [(0.5, True), (60.0, False)])
async def test_who_was_frozen_amidst_a_rebalance_has_no_lease_by_the_old_answer(
    frozen_seconds: float, *, held: bool
) -> None:
    clock = Clock()
    lease = Lease(6.0, clock=clock)
    group = made(lease)

    async def answered(_request: Any = None) -> bool:
        clock.now += frozen_seconds
        return True

    coordinator = SimpleNamespace(_send_req=answered, _do_heartbeat=answered, reset_generation=lambda: None)
    group._beat_with(SimpleNamespace(_coordinator=coordinator))
    await coordinator._send_req(SyncGroupRequest("g", 1, "me", "", []))
    await _Listener(group).on_partitions_assigned({TopicPartition("triggers", 3)})

    assert (frozenset({3}), held) == (group.partitions, lease.held)


async def test_an_answer_that_a_rebalance_has_begun_renews_no_lease() -> None:
    """The group's patience began before it was asked: it may be over while such a lease still held."""
    clock = Clock()
    lease = Lease(3.0, clock=clock)
    group = made(lease)
    rejoin: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def answered() -> bool:
        return True

    coordinator = SimpleNamespace(_send_req=None, _do_heartbeat=answered, reset_generation=None)
    coordinator._rejoin_needed_fut = rejoin
    group._beat_with(SimpleNamespace(_coordinator=coordinator))
    held = []
    for now in (100.0, 104.0):
        clock.now = now
        await coordinator._do_heartbeat()
        held.append(lease.held)
        if not rejoin.done():
            rejoin.set_result(None)

    assert [True, False] == held


def test_a_takeover_has_time_left_when_a_process_dies_whenever_it_may() -> None:
    """10 s are promised; what follows the group's word takes about 1.5 s on a busy machine."""
    session = Settings.load({}, environ={}).connectors.session_timeout_seconds
    rebalance = rebalance_seconds(session)
    at_rest = session
    amidst_a_rebalance = 2 * rebalance + HEARTBEAT_SECONDS  # it has asked to join, and then for no share
    assert max(at_rest, amidst_a_rebalance) + HEARTBEAT_SECONDS <= 10 - 1.5
    # Who is heard of once a second is not given up for being late once.
    assert rebalance >= 2 * HEARTBEAT_SECONDS


class Consumer:
    """What a member asks of its client; each poll does what the script says next, and the last one ends it."""

    def __init__(self, *polls: Callable[[], Awaitable[None]]) -> None:
        self._polls = list(polls)

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        if not self._polls:
            raise asyncio.CancelledError
        await self._polls.pop(0)()
        return {}

    async def seek_to_beginning(self, *_: TopicPartition) -> None:
        pass

    async def end_offsets(self, mine: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {}


async def test_whom_the_group_has_forgotten_begins_anew_what_it_is_given_again() -> None:
    """Others may have had it meanwhile: what was read then is not to be published."""
    said: list[tuple[list[int], bool]] = []
    lease = Lease(6.0)
    group = made(lease)

    async def owned(partitions: Sequence[int]) -> None:
        said.append((list(partitions), group.partitions == frozenset(partitions)))

    group._owned = owned
    coordinator = SimpleNamespace(_send_req=None, _do_heartbeat=None, reset_generation=lambda: None)
    group._beat_with(SimpleNamespace(_coordinator=coordinator))

    async def given() -> None:
        await _Listener(group).on_partitions_assigned({TopicPartition("triggers", 3)})

    async def forgotten_and_given() -> None:
        coordinator.reset_generation()
        assert (lease.held, group.partitions) == (False, frozenset())
        await given()
        assert group.partitions == frozenset()

    with pytest.raises(asyncio.CancelledError):
        await group._follow(Consumer(given, given, forgotten_and_given))

    assert [([3], True), ([3], True), ([], True), ([3], True)] == said

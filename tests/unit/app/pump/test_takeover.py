"""After a takeover every older owner is refused, and the state is whole."""

import logging
from typing import Any

import orjson
import pytest

from app.engine.inputs import WorkflowsLoaded
from app.engine.values.errors import WrongPartitionCount
from app.engine.values.limits import Limits
from app.kafka.log import AppendFailed, Entry, Fenced, Producer
from app.kafka.memory import MemoryLog
from app.pump.pump import Pump
from app.pump.takeover import ClockSkew, Owner, claim_again, take_over
from tests.unit.app.pump.conftest import NOW, Room, defined, event, settle
from topics import journal


async def with_a_result(room: Room, log: MemoryLog | None = None) -> Pump:
    """An owner that has decided and delivered one run, without having journaled that it is delivered."""
    pump = await room.pump(log)
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    await settle()
    assert [one["run_id"] for one in room.values("results")] == room.runtime.started
    return pump


async def test_the_claim_says_who_has_the_partition(room: Room) -> None:
    log = room.log()
    taken = await room.take(log)
    claim = next(one for one in room.cluster.read("journal", 0) if one.key == journal.CLAIM)
    value = orjson.loads(claim.value or b"")
    assert claim.offset == taken.term
    assert (value["worker"], value["instance_id"], value["partitions"]) == ("first", "first", 2)
    assert value["topics"] == room.cluster.topic_ids()


async def test_an_older_owner_is_refused_everywhere(room: Room) -> None:
    older = room.log()
    await room.take(older)
    await room.take(room.log(), "second")
    with pytest.raises(Fenced, match="a newer owner has the partition"):
        await older.append([Entry(b"head", b"{}")])
    for topic in ("results", "runs"):
        older._failed = None
        with pytest.raises(Fenced):
            await older.deliver(topic, [Entry(b"k", b"v")])


@pytest.mark.parametrize("left", [0, 1, 2, 3])
async def test_an_older_owner_is_refused_when_its_epochs_run_out(room: Room, left: int) -> None:
    older = room.log()
    await room.take(older)
    room.cluster.exhaust_epochs("journal.0", left=left)
    newer = room.log()
    await room.take(newer, "second")
    for topic in ("journal", "results", "runs"):
        older._failed = None
        with pytest.raises(Fenced):
            await older._append(topic, [Entry(b"k", b"v")])
    await newer.append([Entry(b"head", b"{}")])


async def test_an_older_owner_is_refused_when_the_broker_has_forgotten_its_id(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    older = room.log()
    await room.take(older)
    room.cluster.expire_transactional_id("journal.0")
    with caplog.at_level(logging.WARNING):
        await room.take(room.log(), "second")
    assert "producer_id_replaced" in caplog.messages
    with pytest.raises(Fenced):
        await older.append([Entry(b"k", b"v")])


class Slow(MemoryLog):
    """Stops before its claim and lets a test do something."""

    meanwhile: Any = None

    async def append(self, entries: Any) -> int:
        if self.meanwhile is not None and entries[0].key == journal.CLAIM:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().append(entries)


async def test_a_claim_that_came_too_late_is_made_again(room: Room) -> None:
    """Its id was forgotten between its fence and its claim, and somebody else has claimed since."""
    between = room.log()
    slow = Slow(0, cluster=room.cluster, sender=room.log()._sender)

    async def somebody_else() -> None:
        room.cluster.expire_transactional_id("journal.0")
        await room.take(between, "between")

    slow.meanwhile = somebody_else
    await room.take(slow, "slow")
    with pytest.raises(Fenced):
        await between.append([Entry(b"k", b"v")])
    await slow.append([Entry(b"k", b"v")])


async def test_an_owner_that_came_while_the_outputs_were_being_closed_cannot_write_to_them(room: Room) -> None:
    between = room.log()

    class Frozen(MemoryLog):
        """Its process stands still between the end of its transaction and the request after it."""

        fences = 0

        async def fence(self) -> Producer:
            self.fences += 1
            if self.fences == 2:
                await room.take(between, "between")
            return await super().fence()

    late = Frozen(0, cluster=room.cluster, sender=room.log()._sender)
    await room.take(late, "late")

    for topic in ("journal", "results", "runs"):
        between._failed = None
        with pytest.raises(Fenced):
            await between._append(topic, [Entry(b"k", b"v")])
        await late._append(topic, [Entry(b"k", b"v")])


async def test_what_an_older_owner_committed_before_the_claim_is_in_the_state(room: Room) -> None:
    older = await room.pump()
    older.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.runtime.slow.add("w")
    room.run(older)

    class Late(MemoryLog):
        fences = 0

        async def fence(self) -> Producer:
            self.fences += 1
            if self.fences == 1:  # between what the new owner has read and its fence, the older one goes on
                await older.offer_events(room.produce(event(id="e1", key="k4")))
                await settle()
            return await super().fence()

    late = Late(0, cluster=room.cluster, sender=room.log()._sender)
    taken = await room.take(late, "second")
    assert list(taken.state.runs) == room.runtime.started
    assert taken.state.events_offset == 1


async def test_results_that_are_there_are_not_delivered_again(room: Room) -> None:
    await with_a_result(room)
    taken = await room.take(room.log(), "second")
    assert [outgoing.results for outgoing in taken.deliver_again] == [[]]


async def test_results_that_are_not_there_are_delivered_again_byte_for_byte(room: Room) -> None:
    class Mute(MemoryLog):
        sent: Any = None

        async def deliver(self, topic: str, entries: Any) -> int:
            if topic == "results":
                self.sent = [tuple(one) for one in entries]
                raise AppendFailed("the process dies here")
            return await super().deliver(topic, entries)

    mute = Mute(0, cluster=room.cluster, sender=room.log()._sender)
    pump = await room.pump(mute)
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    task = room.run(pump)
    await pump.offer_events(room.produce(event(id="e1", key="k4")))
    with pytest.raises(AppendFailed, match="dies here"):
        await task
    taken = await room.take(room.log(), "second")
    again = [tuple(one) for outgoing in taken.deliver_again for one in outgoing.results]
    assert again == mute.sent


async def test_what_was_written_ahead_of_a_commit_that_never_came_is_removed(room: Room) -> None:
    log = room.log()
    pump = await room.pump(log)
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    await settle()
    room.cluster.produce(
        "journal",
        0,
        [Entry(b"body:0", orjson.dumps({"r": 99}))],
        producer=log._producer,
        sequence=log._sequences["journal"],
    )
    taken = await room.take(room.log(), "second")
    assert taken.state.orphans == [b"body:0"]
    second = await room.pump(name="third")
    second.workflows_changed(WorkflowsLoaded([defined(), defined("other")], ()))
    room.run(second)
    await settle()
    last = [one for one in room.cluster.read("journal", 0) if one.key == b"body:0"][-1]
    assert last.value is None


async def test_workflows_that_an_older_release_knew_by_name_alone_are_named(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    log = room.log()
    pump = await room.pump(log)
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    await settle()
    names_alone = Entry(journal.KNOWN, orjson.dumps({"r": 1, "since": {"w": 5}}))
    room.cluster.produce("journal", 0, [names_alone], producer=log._producer, sequence=log._sequences["journal"])

    with caplog.at_level(logging.INFO):
        taken = await room.take(room.log(), "second")

    (found,) = [one for one in caplog.records if one.message == "workflows_known_by_name"]
    assert vars(found)["fields"]["workflows"] == ["w"]
    assert (taken.state.known, taken.state.definitions) == ({"w": 5}, {})


async def test_a_journal_of_another_partition_count_is_refused(room: Room) -> None:
    pump = await room.pump()
    pump.workflows_changed(WorkflowsLoaded([defined()], ()))
    room.run(pump)
    await settle()
    with pytest.raises(WrongPartitionCount, match="written with 2 partitions, the topics now have 8"):
        await room.take(room.log(), "second", Limits(partitions=8))


async def test_a_topic_made_anew_is_reported_and_read_from_its_beginning(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    pump = await with_a_result(room)
    pump.stop()
    room.cluster.create("events", 2)
    with caplog.at_level(logging.ERROR):
        taken = await room.take(room.log(), "second")
    assert "topic_recreated" in caplog.messages
    assert taken.state.events_offset == 0


async def test_what_retention_took_unread_is_reported(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    await with_a_result(room)
    room.produce(event(1), event(2), event(3))
    room.cluster.partition("events", 0).retain_from(3)
    with caplog.at_level(logging.ERROR):
        taken = await room.take(room.log(), "second")
    found = next(one for one in caplog.records if one.message == "offsets_missing")
    assert vars(found)["fields"]["missing"] == "1..2"
    assert taken.state.events_offset == 3


async def test_a_clock_far_off_the_brokers_is_refused(room: Room) -> None:
    owner = Owner(worker="a", instance_id="a")
    with pytest.raises(ClockSkew, match=r"\+120\.0 s off the broker's, more than 60 s"):
        await take_over(room.log(), owner, room.limits, now_ms=lambda: NOW + 120_000)


async def test_a_clock_a_little_off_the_brokers_is_a_warning(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner(worker="a", instance_id="a")
    with caplog.at_level(logging.WARNING):
        await take_over(room.log(), owner, room.limits, now_ms=lambda: NOW - 5_000)
    assert "clock_skew" in caplog.messages


async def test_the_journal_of_a_partition_nobody_had_is_an_empty_state(room: Room) -> None:
    taken = await room.take(room.log())
    assert (taken.state.round, taken.state.events_offset, list(taken.deliver_again)) == (0, 0, [])
    assert taken.next_journal_offset == taken.term + 1


async def test_an_owner_that_slept_does_not_claim_again_what_another_one_has(room: Room) -> None:
    owner = Owner(worker="first", instance_id="first")
    sleeper, newer = room.log(), room.log()
    before = await room.take(sleeper)
    after = await room.take(newer, "second")
    with pytest.raises(Fenced, match="another owner wrote offset"):
        await claim_again(sleeper, owner, room.limits, before.claim, next_offset=before.next_journal_offset, now_ms=NOW)
    assert await newer.append([Entry(b"k", b"v")]) == after.next_journal_offset


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_new_claim_of_the_same_owner_goes_on_after_any_kill_records(room: Room, left: int) -> None:
    owner = Owner(worker="first", instance_id="first")
    log = room.log()
    taken = await room.take(log)
    room.cluster.exhaust_epochs("journal.0", left=left)
    claim, after = await claim_again(
        log, owner, room.limits, taken.claim, next_offset=taken.next_journal_offset, now_ms=NOW
    )
    assert claim["producer_id"] != taken.claim["producer_id"] or left == 2
    assert await log.append([Entry(b"k", b"v")]) == after


async def test_a_claim_that_compaction_took_already_says_that_another_owner_came(room: Room) -> None:
    class Frozen(MemoryLog):
        async def append(self, entries: Any) -> int:
            offset = await super().append(entries)
            self.claimed = True
            return offset

        async def bounds(self, topic: str) -> tuple[int, int]:
            found = await super().bounds(topic)
            if topic == "journal" and self.__dict__.pop("claimed", False):
                await room.take(room.log(), "newer")
                room.cluster.compact("journal", 0, 100)
            return found

    with pytest.raises(Fenced, match="is gone already: a newer owner has the partition"):
        await room.take(Frozen(0, cluster=room.cluster, sender=room.log()._sender), "frozen")

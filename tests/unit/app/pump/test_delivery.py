"""Rounds go out in order and are marked when everything in them is acknowledged."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from app.engine.inputs import Delivered, Unparked
from app.engine.values.outgoing import Outgoing, Record, Result
from app.kafka.log import LogError, Refusal, Refused
from app.kafka.memory import MemoryLog, MemorySender
from app.pump import parked
from app.pump.delivery import WINDOW, Delivery
from tests.unit.app.pump.conftest import Room, settle
from topics.facts import shared_headers


class Held(MemoryLog):
    """Deliveries wait until the test lets them go."""

    def __init__(self, room: Room) -> None:
        super().__init__(0, cluster=room.cluster, sender=MemorySender(room.cluster))
        self.go = asyncio.Event()

    async def deliver(self, topic: str, entries: Any) -> int:
        await self.go.wait()
        return await super().deliver(topic, entries)


class Kit:
    def __init__(self, room: Room, linger_seconds: float = 0.0) -> None:
        self.log = Held(room)
        self.marks: list[Delivered | Unparked] = []
        self.delivery = Delivery(
            self.log, results_end=0, runs_end=0, report=self.marks.append, linger_seconds=linger_seconds
        )
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.log.fence()
        self.task = asyncio.create_task(self.delivery.run())


@pytest.fixture
def kit(room: Room) -> Iterator[Kit]:
    made = Kit(room)
    yield made
    if made.task is not None:
        made.task.cancel()


def rounds(kit: Kit) -> list[int]:
    return [one.round for one in kit.marks if isinstance(one, Delivered)]


def round_of(number: int, **parts: Any) -> Outgoing:
    result: Result = (b"r%d" % number, b'{"n":%d}' % number, shared_headers("flow", "completed", 0), None)
    return Outgoing(number, **({"results": [result]} | parts))


async def test_a_round_is_marked_with_where_its_outputs_end(kit: Kit, room: Room) -> None:
    await kit.start()
    kit.log.go.set()
    fact = Record("runs", 0, b"r", b"{}", ())
    kit.delivery.offer(round_of(1, runs=[fact, fact]))
    await kit.delivery.settled()
    assert kit.marks == [Delivered(1, 1, 2)]
    assert [one.key for one in room.cluster.read("results", 0)] == [b"r1"]


async def test_nothing_is_marked_before_it_is_acknowledged(kit: Kit, room: Room) -> None:
    await kit.start()
    kit.delivery.offer(round_of(1))
    await settle()
    assert (kit.marks, room.values("results")) == ([], [])
    kit.log.go.set()
    await kit.delivery.settled()
    assert rounds(kit) == [1]


async def test_rounds_that_wait_go_out_together_and_in_order(kit: Kit, room: Room) -> None:
    await kit.start()
    for number in (1, 2, 3):
        kit.delivery.offer(round_of(number))
    kit.log.go.set()
    await kit.delivery.settled()
    assert [one["n"] for one in room.values("results")] == [1, 2, 3]
    assert kit.marks == [Delivered(3, 3, 0)]


async def test_rounds_above_the_window_wait_for_room(kit: Kit) -> None:
    await kit.start()
    for number in range(WINDOW):
        kit.delivery.offer(round_of(number))
    assert kit.delivery.full
    waiting = asyncio.create_task(kit.delivery.room())
    await settle()
    assert not waiting.done()
    kit.log.go.set()
    await waiting
    assert not kit.delivery.full


FACT = Record("runs", 0, b"r", b"{}", ())


@pytest.fixture
def lingering(room: Room) -> Iterator[Kit]:
    made = Kit(room, linger_seconds=3_600.0)
    made.log.go.set()
    yield made
    if made.task is not None:
        made.task.cancel()


async def test_facts_alone_wait_for_others_and_a_result_takes_them_along(lingering: Kit, room: Room) -> None:
    await lingering.start()
    lingering.delivery.offer(Outgoing(1, runs=[FACT]))
    await settle()
    lingering.delivery.offer(Outgoing(2, runs=[FACT]))
    await settle()
    assert (room.values("runs"), lingering.marks) == ([], [])
    lingering.delivery.offer(round_of(3))
    await settle()
    assert (len(room.values("runs")), len(room.values("results"))) == (2, 1)
    assert lingering.marks == [Delivered(3, 1, 2)]


async def test_facts_do_not_wait_when_somebody_waits_for_all_or_half_the_window_is_full(lingering: Kit) -> None:
    await lingering.start()
    lingering.delivery.offer(Outgoing(1, runs=[FACT]))
    await lingering.delivery.settled()
    assert lingering.marks == [Delivered(1, 0, 1)]
    for number in range(2, 2 + WINDOW // 2):
        lingering.delivery.offer(Outgoing(number, runs=[FACT]))
    await settle()
    assert rounds(lingering) == [1, 1 + WINDOW // 2]


async def test_facts_that_come_during_a_delivery_linger_too(lingering: Kit) -> None:
    await lingering.start()
    lingering.log.go.clear()
    lingering.delivery.offer(round_of(1))
    await settle()
    lingering.delivery.offer(Outgoing(2, runs=[FACT]))
    lingering.log.go.set()
    await settle()
    assert rounds(lingering) == [1]
    await lingering.delivery.settled()
    assert rounds(lingering) == [1, 2]


async def test_a_record_whose_topic_is_missing_becomes_a_dead_letter(kit: Kit, room: Room) -> None:
    await kit.start()
    lost = Record("nowhere", None, b"c1", b"v", (), foreign=True)
    kit.delivery.offer(Outgoing(1, records=[lost]))
    await kit.delivery.settled()
    letters = [one for number in range(8) for one in room.values("dlq", number)]
    assert [(one["code"], one["key"], one["value"]) for one in letters] == [("topic_missing", "c1", "v")]
    assert "create the topic 'nowhere'" in letters[0]["remedy"]


@pytest.mark.parametrize(
    ("why", "code", "reason"),
    [
        (Refusal.FORBIDDEN, "topic_forbidden", "Kafka does not let Headgate's user write to topic 'replies'"),
        (Refusal.TOO_LARGE, "record_too_large", "Kafka topic 'replies' takes no record of 3 bytes"),
        (Refusal.INVALID, "record_refused", "Kafka refuses this record for topic 'replies'"),
    ],
)
async def test_a_record_that_its_topic_refuses_becomes_a_dead_letter_that_says_why(
    kit: Kit, room: Room, why: Refusal, code: str, reason: str
) -> None:
    await kit.start()
    send = kit.log.send

    async def refuse(records: Any) -> Any:
        foreign = [Refused(one, why) for one in records if one.foreign]
        return foreign + await send([one for one in records if not one.foreign])

    kit.log.send = refuse  # type: ignore[method-assign]
    kit.delivery.offer(Outgoing(1, records=[Record("replies", None, b"c1", b"v", (), foreign=True)]))
    await kit.delivery.settled()
    letters = [one for number in range(8) for one in room.values("dlq", number)]
    assert [(one["code"], one["key"], one["value"]) for one in letters] == [(code, "c1", "v")]
    assert letters[0]["reason"].startswith(reason)
    assert rounds(kit) == [1]


def reply(number: int, topic: str = "replies") -> Record:
    return Record(topic, None, b"c%d" % number, b"v%d" % number, (), foreign=True)


async def test_a_topic_that_is_away_holds_up_nothing_but_what_is_for_it(
    kit: Kit, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "AGAIN_SECONDS", 0.0)
    room.cluster.create("replies", 1)
    room.cluster.create("others", 1)
    room.cluster.away.add("replies")
    kit.log.go.set()
    await kit.start()
    kit.delivery.offer(round_of(1, records=[reply(1), reply(2, "others"), reply(3)]))
    kit.delivery.offer(round_of(2, records=[reply(4)]))
    await kit.delivery.settled()
    kit.delivery.offer(round_of(3, records=[reply(5), reply(6, "others")]))
    await kit.delivery.settled()
    assert kit.marks == [Delivered(2, 2, 0, {0: reply(1), 1: reply(3), 2: reply(4)}), Delivered(3, 3, 0, {3: reply(5)})]
    assert [one.key for one in room.cluster.read("others", 0)] == [b"c2", b"c6"]
    assert room.cluster.read("replies", 0) == []
    room.cluster.away.clear()
    await settle()
    assert [one.key for one in room.cluster.read("replies", 0)] == [b"c1", b"c3", b"c4", b"c5"]
    assert kit.marks[2:] == [Unparked([0]), Unparked([1, 2, 3])]


async def test_an_error_ends_it_and_nothing_is_marked(kit: Kit) -> None:
    await kit.start()
    assert kit.task is not None

    async def refuse(records: Any) -> Any:
        raise LogError("gone")

    kit.log.send = refuse  # type: ignore[method-assign]
    kit.delivery.offer(Outgoing(1, records=[Record("dlq", None, b"k", orjson.dumps({}), ())]))
    with pytest.raises(LogError, match="gone"):
        await kit.task
    assert kit.marks == []

"""One source in the frame: what it publishes, and what is acknowledged and moved when."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from connectors.base.contract import Item, Moved, NotConnected, Received, Refused, Site, Unreadable
from connectors.base.instance.events import Outgoing, TooLargeForKafka
from tests.unit.connectors.base.framed import Framed, Use, event, for_ever, running, spec
from tests.unit.connectors.standing import until
from topics.facts import Record
from topics.sources import Cursor, State


async def test_events_carry_topic_id_source_and_who_read_them(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        yield event(1, key="k")
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: len(framed.broker.events) == 1)
    [made] = framed.broker.events

    assert made.key == b"k"
    assert made.home == "k"
    assert {"topic": "src/made", "event_type": "made", "id": "id1", "data": {"n": 1}} == orjson.loads(made.value)
    headers = dict(made.headers)
    assert headers.pop("received_at").isdigit()
    assert {"source": b"headgate/sources/src", "provider": b"scripted", "instance": b"src", "type": b"made"} == headers


async def test_nothing_is_acknowledged_and_no_position_moves_before_the_broker_has_it(scripted: Use) -> None:
    order: list[str] = []

    async def ack() -> None:
        order.append("acked")

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1, ack=ack, position=1)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    framed.broker.back.clear()
    framed.runner.moved = lambda cursor: order.append(f"position {cursor.position}")
    async with running(framed):
        await until(lambda: framed.runner.buffered == 1)
        assert order == []
        framed.broker.back.set()
        await until(lambda: len(order) == 2)

    assert order == ["acked", "position 1"]


async def test_nothing_is_published_without_the_lease(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    framed.held.clear()
    async with running(framed):
        await until(lambda: framed.runner.buffered == 1)
        assert framed.broker.events == []
        framed.held.set()
        await until(lambda: len(framed.broker.events) == 1)


async def test_a_position_of_another_kind_is_not_this_ones(scripted: Use) -> None:
    seen: list[Any] = []

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        seen.append(site.position)
        yield Moved(position=5)
        await for_ever()

    scripted(reads)
    for kind, expected in (("rss", None), ("scripted", 3)):
        framed = Framed(spec(), cursor=Cursor(position=3, epoch="e", kind=kind))
        async with running(framed):
            await until(lambda framed=framed: bool(framed.cursors))  # type: ignore[misc]
        assert seen.pop() == expected


@pytest.mark.parametrize("paused", [False, True])
async def test_a_new_owner_shows_the_position_at_once_and_without_secrets(scripted: Use, paused: bool) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        await for_ever()
        yield event(1)

    scripted(reads)
    cursor = Cursor(position={"next": "/after/canary-123"}, epoch="e", kind="scripted")
    given = spec(options={"token": "{{ env.T }}"}, paused=paused)
    framed = Framed(given, cursor=cursor, environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: framed.watched.state is (State.PAUSED if paused else State.CONNECTED))

        assert framed.watched.status.position == '{"next":"/after/***"}'


async def test_what_is_no_event_becomes_a_dead_letter_and_is_acknowledged(scripted: Use) -> None:
    acked: list[int] = []

    def ack(number: int) -> Callable[[], Any]:
        async def one() -> None:
            acked.append(number)

        return one

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield Unreadable(id="u", reason="not JSON", raw=b"{", ack=ack(1))
        yield Received(id="odd", event_type="made", data={"text": 5}, ack=ack(3))
        yield Received(id="fine", event_type="made", data={"text": "hello"}, ack=ack(4))
        yield Received(id="other", event_type="made", data={"text": "bye"}, ack=ack(5))
        await for_ever()

    scripted(reads)
    framed = Framed(spec(filter={"data.text": {"prefix": "h"}}))
    async with running(framed):
        await until(lambda: len(acked) == 4)

    letters = [orjson.loads(letter.value) for letter in framed.broker.letters]
    assert ["source_unreadable", "filter_failed"] == [letter["code"] for letter in letters]
    assert letters[0]["value"] == "{"
    assert ["fine"] == [orjson.loads(made.value)["id"] for made in framed.broker.events]
    status = framed.watched.status
    assert (status.events_received, status.events_filtered, status.dead_letters) == (4, 1, 2)


async def test_an_event_that_the_filter_lets_pass_has_passed_it_whatever_becomes_of_it_then(scripted: Use) -> None:
    async def reads(_site: Site, _: int) -> AsyncIterator[Item]:
        yield Received(id="keyless", event_type="made", data={"n": 1})
        yield Received(id="odd", event_type="made", data={"n": "text"})
        yield Unreadable(id="unreadable", reason="not JSON", raw=b"{")
        await for_ever()

    scripted(reads)
    framed = Framed(spec(filter={"data.n": {"gt": 0}}, key="{{ data.name }}"))
    async with running(framed):
        await until(lambda: len(framed.broker.letters) == 3)

    value = framed.metrics.registry.get_sample_value
    counted = {
        result: value("triggers_events_filtered_total", {"provider": "scripted", "result": result})
        for result in ("passed", "failed", "turned_away")
    }
    assert counted == {"passed": 1, "failed": 1, "turned_away": None}


async def test_dead_letters_for_one_reason_do_not_fill_the_log(scripted: Use, caplog: pytest.LogCaptureFixture) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        for number in range(50):
            yield Unreadable(id=f"u{number}", reason="not JSON", raw=b"{")
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: len(framed.broker.letters) == 50)

    [told] = [record.fields for record in caplog.records if record.message == "source_dead_letter"]  # type: ignore[attr-defined]
    assert told["count"] == 1


async def test_an_event_that_is_too_large_becomes_a_dead_letter(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield Received(id="huge", event_type="made", data="x" * 20_000)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: bool(framed.broker.letters))

    assert orjson.loads(framed.broker.letters[0].value)["code"] == "too_large"


async def test_messages_go_through_the_source_that_runs(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        if site.instance_id:
            await for_ever()
        yield event(1)

    scripted(reads)
    framed = Framed(spec())
    with pytest.raises(NotConnected):
        await framed.runner.send({}, key="k")
    async with running(framed):
        await until(lambda: framed.watched.state is State.CONNECTED)

        assert {"sent": {"a": 1}, "key": "k"} == await framed.runner.send({"a": 1}, key="k")
        with pytest.raises(Refused):
            await framed.runner.send({"refuse": True}, key="k")


async def test_a_dead_letter_tells_no_secret(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield Unreadable(id="u", reason="canary-123 came instead", raw=b"x")
        await for_ever()

    scripted(reads)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: bool(framed.broker.letters))

    assert "*** came instead" in orjson.loads(framed.broker.letters[0].value or b"")["reason"]


async def test_an_event_that_is_too_large_for_the_topic_becomes_a_dead_letter_and_is_acknowledged(
    scripted: Use,
) -> None:
    acked = []

    async def ack() -> None:
        acked.append(len(framed.broker.letters))

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1, ack=ack)
        yield event(2, ack=ack, position=2)
        await for_ever()

    async def publish(events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        refused = [one for one in events if b"id1" in one.value]
        await framed.broker.publish([one for one in events if one not in refused], letters)
        if refused:
            raise TooLargeForKafka(refused)

    scripted(reads)
    framed = Framed(spec())
    framed.runner._around = replace(framed.runner._around, publish=publish)
    async with running(framed):
        await until(lambda: bool(framed.cursors))

    assert [b"id2" in one.value for one in framed.broker.events] == [True]
    [letter] = [orjson.loads(one.value) for one in framed.broker.letters]
    assert (letter["code"], "max.message.bytes" in letter["remedy"]) == ("too_large", True)
    assert (acked, framed.cursors[-1].position) == ([1, 1], 2)
    assert (framed.watched.status.events_received, framed.watched.status.dead_letters) == (2, 1)

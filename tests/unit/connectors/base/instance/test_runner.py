"""One source in the frame: what is acknowledged when, and what each end of reading leads to."""

import asyncio
import gc
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest

from connectors.base.contract import Ended, Item, Moved, NotConnected, Received, Refused, Site, Unreadable
from connectors.base.instance import runner as runners
from connectors.base.instance.events import Outgoing, TooLargeForKafka
from connectors.base.instance.runner import Crashed, Runner
from connectors.base.kinds import registry
from tests.unit.connectors.base.framed import Config, Framed, Reads, kind_of, running, spec
from tests.unit.connectors.standing import until
from topics.facts import Record
from topics.sources import Cursor, State

Use = Callable[[Reads], None]
FAST = {"base_seconds": 0.01, "max_seconds": 0.1}


def event(number: int, **fields: Any) -> Received:
    return Received(id=f"id{number}", event_type="made", data={"n": number}, **fields)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


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


async def test_after_a_break_reading_goes_on_from_the_stored_position(scripted: Use) -> None:
    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        start = site.position or 0
        for number in range(start + 1, start + 4):
            yield event(number, position=number)
        if connection < 3:
            raise NotConnected("broken")
        await for_ever()

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: len(framed.broker.events) == 9)

    assert [f"id{n}" for n in range(1, 10)] == [orjson.loads(made.value)["id"] for made in framed.broker.events]
    assert framed.cursors[-1].position == 9


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


async def test_each_connection_has_an_epoch_of_its_own(scripted: Use) -> None:
    seen: list[str] = []

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        seen.append(site.epoch)
        yield Moved(position=len(seen))
        raise NotConnected("broken")

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: len(seen) > 3)

    assert len(set(seen)) == len(seen)


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


async def test_an_acknowledgement_whose_time_is_over_is_left_to_the_sources_repetition(scripted: Use) -> None:
    acked: list[int] = []

    async def ack() -> None:
        acked.append(1)

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1, ack=ack, ack_within_seconds=-1.0)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: framed.watched.status.notes.get("late") == 1)

    assert acked == []
    assert len(framed.broker.events) == 1


async def test_a_failed_acknowledgement_ends_the_connection_and_moves_no_position(scripted: Use) -> None:
    async def ack() -> None:
        raise NotConnected("the link broke", reason="ack")

    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        if connection == 1:
            yield event(1, ack=ack, position=1)
        else:
            yield event(2, position=2)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: len(framed.broker.events) == 2)
        await until(lambda: bool(framed.cursors))

    assert [2] == [cursor.position for cursor in framed.cursors]


async def test_a_link_that_breaks_is_backed_off_and_says_so(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        if site.position is None:
            raise NotConnected("nobody answers", reason="timeout", retry_after_seconds=500)
        yield event(1)

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: framed.watched.state is State.BACKING_OFF)
    status = framed.watched.status

    assert status.error is not None
    assert ("transient", "timeout", "nobody answers") == (status.error.kind, status.error.reason, status.error.message)
    assert status.reconnect_attempts == 1
    assert status.next_retry_at_ms is not None
    assert status.next_retry_at_ms - status.since_ms >= 499_000


async def test_a_reason_is_in_the_log_once_however_often_it_is_tried(
    scripted: Use, caplog: pytest.LogCaptureFixture
) -> None:
    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        if connection == 7:
            yield event(1)
            await for_ever()
        if connection == 6:
            raise NotConnected("the service asks for a new connection", at_once=True)
        raise NotConnected("nobody answers" if connection < 5 else "no such host", reason="timeout")

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: framed.watched.epoch == "e7")

    told = [record.fields for record in caplog.records if record.message == "source_backs_off"]  # type: ignore[attr-defined]
    assert ["nobody answers", "no such host"] == [fields["error"] for fields in told]
    assert told[0]["next_try_in_seconds"] == 0.0


async def test_refused_waits_for_somebody_and_is_tried_again_later(scripted: Use) -> None:
    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        if connection == 1 and not framed.watched.status.notes:
            site.note("refused")
            raise Refused("the token is wrong", reason="unauthorized")
        site.connected()
        yield event(1)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(reconnect={"failed_seconds": 0.1}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)
        assert framed.watched.status.error is not None
        assert framed.watched.status.error.kind == "permanent"
        await until(lambda: framed.watched.state is State.CONNECTED)

    assert framed.watched.status.error is None


async def test_a_source_that_has_ended_rests(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)
        raise Ended("HTTP 204")

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: framed.watched.state is State.PAUSED)

    assert len(framed.broker.events) == 1


async def test_attempts_can_be_bounded(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        if site.instance_id:
            raise NotConnected("away")
        yield event(1)

    scripted(reads)
    framed = Framed(spec(reconnect={**FAST, "max_attempts": 3}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)

    assert framed.watched.status.error is not None
    assert "3 attempts" in framed.watched.status.error.message


async def breaks_in_reading(site: Site, _: int) -> AsyncIterator[Item]:
    if site.epoch == "e1":
        raise ZeroDivisionError("canary-123 divided by nothing")
    yield event(1, position=1)
    await for_ever()


async def breaks_amidst_events(site: Site, _: int) -> AsyncIterator[Item]:
    yield event(1, position=1)
    if site.epoch == "e1":
        raise ZeroDivisionError("canary-123 divided by nothing")
    await for_ever()


async def breaks_in_an_acknowledgement(site: Site, _: int) -> AsyncIterator[Item]:
    async def ack() -> None:
        raise ZeroDivisionError("canary-123 divided by nothing")

    yield event(1, ack=ack if site.epoch == "e1" else None, position=1)
    await for_ever()


async def breaks_while_it_closes(site: Site, _: int) -> AsyncIterator[Item]:
    try:
        if site.epoch == "e1":
            raise NotConnected("it broke")
        yield event(1, position=1)
        await for_ever()
    finally:
        if site.epoch == "e1":
            raise ZeroDivisionError("canary-123 divided by nothing")


async def reads_no_event(site: Site, _: int) -> AsyncIterator[Item]:
    if site.epoch == "e1":
        yield event(1, created_at="canary-123 is no time", position=1)
    yield event(1, position=1)
    await for_ever()


async def reads_nothing_known(site: Site, _: int) -> AsyncIterator[Item]:
    if site.epoch == "e1":
        yield object()  # type: ignore[misc]
    yield event(1, position=1)
    await for_ever()


@pytest.mark.parametrize(
    ("reads", "error"),
    [
        (breaks_in_reading, "ZeroDivisionError"),
        (breaks_amidst_events, "ZeroDivisionError"),
        (breaks_in_an_acknowledgement, "ZeroDivisionError"),
        (breaks_while_it_closes, "ZeroDivisionError"),
        (reads_no_event, "AttributeError"),
        (reads_nothing_known, "AttributeError"),
    ],
)
async def test_a_fault_of_a_kind_fails_its_source_alone_and_it_is_made_anew_later(
    scripted: Use, caplog: pytest.LogCaptureFixture, reads: Reads, error: str
) -> None:
    scripted(reads)
    options = {"options": {"token": "{{ env.T }}"}, "reconnect": {"base_seconds": 0.01, "max_seconds": 0.2}}
    framed = Framed(spec(**options), environment={"T": "canary-123"})
    async with running(framed) as task:
        await until(lambda: framed.watched.state is State.FAILED or task.done())
        assert not task.done()
        status = framed.watched.status
        assert (status.state, status.next_retry_at_ms is not None) == (State.FAILED, True)
        assert status.error is not None
        assert (status.error.kind, status.error.reason) == ("permanent", "crashed")
        words = f"the kind 'scripted' fails with {error}, a mistake in its code; the log says where"
        assert status.error.message == words
        assert [cursor.position for cursor in framed.cursors] == ([1] if reads is breaks_amidst_events else [])
        await until(lambda: framed.watched.epoch == "e2" and bool(framed.cursors))

    [said] = [record for record in caplog.records if record.message == "source_crashed"]
    assert error in said.__dict__["fields"]["exception"]
    assert "canary" not in f"{said.__dict__['fields']}".replace("canary-123 divided", "").replace("canary-123 is", "")
    assert framed.metrics.crashed.labels("scripted")._value.get() == 1


async def test_what_the_frame_does_not_expect_ends_the_runner_and_tells_no_secret(
    scripted: Use, caplog: pytest.LogCaptureFixture
) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary-123"})

    async def publish(*_: Any) -> None:
        raise ZeroDivisionError("canary-123 divided by nothing")

    framed.runner._around = replace(framed.runner._around, publish=publish)

    with pytest.raises(Crashed) as caught:
        await asyncio.wait_for(framed.runner.run(), 5)
    shown = "".join(traceback.format_exception(caught.value)) + str([record.__dict__ for record in caplog.records])
    assert "*** divided by nothing" in shown
    assert "canary" not in shown.replace('"canary-123 divided', "")  # the line of this test itself


async def test_a_stop_publishes_and_acknowledges_what_was_read(scripted: Use) -> None:
    acked: list[int] = []

    async def ack() -> None:
        acked.append(1)

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        for number in range(50):
            yield event(number, ack=ack)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    framed.broker.back.clear()
    async with running(framed):
        await until(lambda: framed.runner.buffered == 50)
        stopping = asyncio.create_task(framed.runner.stop())
        framed.broker.back.set()
        await asyncio.wait_for(stopping, 5)

    assert len(framed.broker.events) == 50
    assert len(acked) == 50


async def test_a_paused_source_reads_nothing(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        if site.instance_id:
            raise AssertionError
        yield event(1)

    scripted(reads)
    framed = Framed(spec(paused=True))
    async with running(framed) as task:
        await until(lambda: framed.watched.state is State.PAUSED)
        assert not task.done()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"options": {"count": "many"}}, "/options/count"),
        ({"options": {"nope": 1}}, "/options/nope"),
        ({"options": {"token": "{{ env.GONE }}"}}, "env.GONE is not set"),
        ({"topic": "{{ nope }}"}, "no field of an event"),
        ({"filter": {"nope": 1}}, "/filter/nope"),
        ({"reconnect": {"base_seconds": -1}}, "/reconnect/base_seconds"),
        ({"reconnect": {"failed_seconds": 1e-6}}, "/reconnect/failed_seconds"),  # a loop without a pause
    ],
)
async def test_what_cannot_run_as_it_is_set_up_has_failed_with_the_place(
    scripted: Use, fields: dict[str, Any], words: str
) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)

    scripted(reads)
    framed = Framed(spec(**fields))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)
    error = framed.watched.status.error

    assert error is not None
    assert words in error.message


async def test_no_secret_is_in_a_status_or_a_log(scripted: Use, caplog: pytest.LogCaptureFixture) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.say("odd", detail="canary-123 was sent")
        if site.instance_id:
            raise Refused("canary-123 is wrong")
        yield event(1)

    scripted(reads)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)

    assert "canary" not in str(framed.watched.status)
    assert "canary" not in str([record.__dict__ for record in caplog.records])
    assert "*** is wrong" in str(framed.watched.status)


@pytest.mark.parametrize("paused", [False, True])
async def test_a_new_owner_shows_the_position_at_once_and_without_secrets(scripted: Use, paused: bool) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        await asyncio.Event().wait()
        yield event(1)

    scripted(reads)
    cursor = Cursor(position={"next": "/after/canary-123"}, epoch="e", kind="scripted")
    given = spec(options={"token": "{{ env.T }}"}, paused=paused)
    framed = Framed(given, cursor=cursor, environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: framed.watched.state is (State.PAUSED if paused else State.CONNECTED))

        assert framed.watched.status.position == '{"next":"/after/***"}'


async def test_a_position_that_is_too_large_fails_the_source_and_not_the_process(scripted: Use) -> None:
    from topics.sources import Unsuitable

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1, position="large")
        await for_ever()

    def moved(_: Cursor) -> None:
        raise Unsuitable("too large")

    scripted(reads)
    framed = Framed(spec())
    framed.runner.moved = moved
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)


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


async def test_an_acknowledgement_that_never_returns_ends_the_connection_and_moves_no_position(
    scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.base.instance.runner.ACK_SECONDS", 0.01)

    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        site.connected()
        yield event(1, ack=for_ever if connection == 1 else None, position=connection)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: bool(framed.cursors))

    assert [2] == [cursor.position for cursor in framed.cursors]
    assert [b'"id":"id1"' in one.value for one in framed.broker.events] == [True, True]


async def test_a_kind_that_fails_on_its_options_fails_its_source_and_not_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(config: Config, site: Site) -> Any:
        raise ZeroDivisionError(f"{config.token.get_secret_value()} divided by nothing")

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)

    kind = replace(kind_of(reads), make=make)
    monkeypatch.setattr(registry, "load", lambda _name: kind)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)

    assert framed.watched.status.error is not None
    assert "fails on these options with ZeroDivisionError" in framed.watched.status.error.message
    logged = str([record.__dict__ for record in caplog.records])
    assert "*** divided by nothing" in logged
    assert "canary" not in logged


async def test_what_has_been_stopped_connects_no_more(scripted: Use, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[int] = []
    over = asyncio.Event()

    async def rest(_runner: Runner, seconds: float | None) -> None:
        await (for_ever() if seconds is None else over.wait())

    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        connections.append(connection)
        if connection == 1:
            raise NotConnected("it broke")
        yield event(1)

    monkeypatch.setattr(Runner, "_rest", rest)
    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: framed.watched.state is State.BACKING_OFF)
        await framed.runner.stop()
        over.set()
        for _ in range(10):
            await asyncio.sleep(0)

    assert connections == [1]


async def test_a_stop_waits_for_nothing_that_will_not_be_published(scripted: Use) -> None:
    async def ack() -> None:
        raise NotConnected("the link broke", reason="ack")

    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        if connection > 1:
            await for_ever()
        for number in range(1_500):
            yield event(number, ack=ack)

    scripted(reads)
    framed = Framed(spec(reconnect={"base_seconds": 60, "max_seconds": 60}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.BACKING_OFF)

        await asyncio.wait_for(framed.runner.stop(), 1)

    assert framed.runner._around.room.used_bytes == 0


async def test_a_dead_letter_tells_no_secret(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield Unreadable(id="u", reason="canary-123 came instead", raw=b"x")
        await for_ever()

    scripted(reads)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary-123"})
    async with running(framed):
        await until(lambda: bool(framed.broker.letters))

    assert "*** came instead" in orjson.loads(framed.broker.letters[0].value or b"")["reason"]


async def test_a_connection_that_fails_while_its_owner_ends_complains_to_nobody(scripted: Use) -> None:
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))

    async def reads(site: Site, number: int) -> AsyncIterator[Item]:
        if number < 1:
            yield Moved(position=number)
        raise NotConnected("nobody is there")

    scripted(reads)
    for turns in range(12):
        async with running(Framed(spec())):
            for _ in range(turns):
                await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


async def test_a_kind_that_closes_slowly_and_is_asked_again_costs_no_room_for_ever(scripted: Use) -> None:
    closed = asyncio.Event()

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        try:
            yield event(1)
            await for_ever()
        finally:
            await closed.wait()

    scripted(reads)
    framed = Framed(spec())
    framed.broker.back.clear()
    room = framed.runner._around.room
    task = asyncio.create_task(framed.runner.run())
    await until(lambda: room.used_bytes > 0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    closed.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert room.used_bytes == 0


async def test_a_kind_that_never_ends_is_left_behind_and_told_and_what_it_still_reads_goes_nowhere(
    scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "END_SECONDS", 0.05)
    goes_on = asyncio.Event()

    async def breaks() -> None:
        raise NotConnected("not acknowledged")

    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        if site.epoch != "e1":
            await for_ever()
        yield event(1, ack=breaks)
        while not goes_on.is_set():
            with suppress(asyncio.CancelledError):
                await goes_on.wait()
        yield event(2)

    scripted(reads)
    framed = Framed(spec(reconnect={"failed_seconds": 0.1}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)
        problem = framed.watched.status.error
        assert problem is not None
        assert ("not acknowledged" not in problem.message, problem.reason) == (True, "does_not_end")
        await until(lambda: framed.watched.epoch == "e2")
        goes_on.set()
        for _ in range(20):
            await asyncio.sleep(0)

    assert [b"id1"] == [orjson.loads(one.value)["id"].encode() for one in framed.broker.events]


async def test_a_variable_that_sources_may_not_name_fails_its_source(scripted: Use) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1)

    scripted(reads)
    framed = Framed(spec(options={"token": "{{ env.T }}"}), environment={"T": "canary"}, secret_names=["SHOP_*"])
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)

    assert framed.watched.status.error is not None
    assert "env.T is a variable that sources may not use" in framed.watched.status.error.message


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

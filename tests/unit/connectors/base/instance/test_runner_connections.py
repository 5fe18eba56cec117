"""What each end of a connection leads to: a link that breaks, a refusal, an end, a stop."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from connectors.base.contract import Ended, Item, Moved, NotConnected, Refused, Site
from connectors.base.instance.runner import Runner
from tests.unit.connectors.base.framed import FAST, Framed, Scripted, Use, event, for_ever, running, spec
from tests.unit.connectors.standing import until
from topics.sources import State


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


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        (NotConnected("it broke", reason="broke"), State.BACKING_OFF, "broke"),
        (None, State.BACKING_OFF, "ended"),
        (Refused("the token is not taken", reason="unauthorized"), State.FAILED, "unauthorized"),
        (Ended("no more"), State.PAUSED, "ended"),
        (ZeroDivisionError(), State.FAILED, "crashed"),
    ],
)
async def test_a_link_that_is_gone_is_told_while_what_it_brought_still_waits_for_the_broker(
    scripted: Use, end: Exception | None, state: State, reason: str
) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        yield event(1, position=1)
        if end is not None:
            raise end

    scripted(reads)
    framed = Framed(spec(reconnect={"base_seconds": 60}))
    framed.broker.back.clear()
    async with running(framed):
        await until(lambda: framed.runner.buffered == 1 and framed.watched.state is state)
        gone = framed.watched.status
        lived = framed.watched.lived_seconds()
        framed.broker.back.set()
        await until(lambda: framed.runner.buffered == 0)
        await until(lambda: framed.watched.status.next_retry_at_ms is not None or state is State.PAUSED)

    assert gone.error is not None
    assert (reason, framed.watched.state) == (gone.error.reason, state)
    assert len(framed.broker.events) == 1
    assert framed.watched.lived_seconds() == lived, "the wait for the broker is no life of the link"


async def test_after_the_last_attempt_the_other_side_still_has_the_time_that_it_asked_for(scripted: Use) -> None:
    async def reads(site: Site, connection: int) -> AsyncIterator[Item]:
        if site.instance_id:
            raise NotConnected("too many", reason="http_429", retry_after_seconds=0 if connection == 1 else 4_000)
        yield event(1)

    scripted(reads)
    framed = Framed(spec(reconnect={**FAST, "max_attempts": 1}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)
    status = framed.watched.status

    assert status.next_retry_at_ms is not None
    assert status.next_retry_at_ms - status.since_ms >= 3_999_000


async def test_what_has_failed_for_good_is_not_tried_again_in_step_with_others(
    scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reads(site: Site, _: int) -> AsyncIterator[Item]:
        if site.instance_id:
            raise Refused("the token is not taken")
        yield event(1)

    monkeypatch.setattr("connectors.base.instance.runner.random.random", lambda: 1.0)
    scripted(reads)
    framed = Framed(spec(reconnect={"failed_seconds": 100}))
    async with running(framed):
        await until(lambda: framed.watched.state is State.FAILED)
    status = framed.watched.status

    assert status.next_retry_at_ms is not None
    assert 124_000 <= status.next_retry_at_ms - status.since_ms <= 126_000


async def test_a_source_that_keeps_something_over_its_connections_is_closed_once_at_its_end(
    scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    async def close(_self: Scripted) -> None:
        closed.append(len(connections))

    connections: list[int] = []

    async def reads(_site: Site, connection: int) -> AsyncIterator[Item]:
        connections.append(connection)
        yield event(connection, position=connection)
        if connection == 3:
            await for_ever()

    monkeypatch.setattr(Scripted, "close", close, raising=False)
    scripted(reads)
    framed = Framed(spec(reconnect=FAST))
    async with running(framed):
        await until(lambda: len(framed.broker.events) == 3)

    assert closed == [3]


async def test_what_a_source_that_cannot_be_asked_again_has_in_hand_at_its_end_is_told_as_dropped(
    scripted: Use,
) -> None:
    async def reads(_site: Site, _: int) -> AsyncIterator[Item]:
        for number in range(5):
            yield event(number)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(), delivery="best-effort")
    framed.broker.back.clear()
    async with running(framed):
        await until(lambda: framed.runner.buffered == 5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(framed.runner.stop(), 0.01)

    assert framed.watched.status.notes == {"dropped": 5}

"""A kind that fails, never ends or cannot run as it is set up: its source has failed, and tells no secret."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
import pytest

from connectors.base.contract import Item, NotConnected, Refused, Site
from connectors.base.instance import runner as runners
from connectors.base.instance.runner import Crashed
from connectors.base.kinds import registry
from tests.unit.connectors.base.framed import Config, Framed, Reads, Use, event, for_ever, kind_of, running, spec
from tests.unit.connectors.standing import until
from topics.sources import Cursor, State


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

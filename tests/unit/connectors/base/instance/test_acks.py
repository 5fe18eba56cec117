"""What becomes of acknowledgements: in time, too late, failed, never answered."""

from collections.abc import AsyncIterator

import pytest

from connectors.base.contract import Item, NotConnected, Site
from connectors.base.instance import acks
from tests.unit.connectors.base.framed import FAST, Framed, Use, event, for_ever, running, spec
from tests.unit.connectors.standing import until


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


async def test_an_acknowledgement_that_never_returns_ends_the_connection_and_moves_no_position(
    scripted: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acks, "ACK_SECONDS", 0.01)

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


async def test_what_the_broker_has_is_counted_whatever_becomes_of_its_acknowledgement(scripted: Use) -> None:
    async def fails() -> None:
        raise NotConnected("the link broke", reason="ack")

    async def reads(_site: Site, _: int) -> AsyncIterator[Item]:
        yield event(1, ack=fails, position=1)
        await for_ever()

    scripted(reads)
    framed = Framed(spec())
    async with running(framed):
        await until(lambda: framed.watched.status.error is not None)
        await framed.runner.stop()

    value = framed.metrics.registry.get_sample_value
    assert (1, 1) == (framed.watched.status.events_received, len(framed.broker.events))
    assert value("triggers_events_published_total", {"provider": "scripted"}) == 1
    assert value("triggers_ack_seconds_count", {"provider": "scripted"}) == 1

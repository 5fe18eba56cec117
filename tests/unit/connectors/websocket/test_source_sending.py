"""What WebSocket sources send: acknowledgements and messages, through their own connection alone."""

import asyncio
import json

import pytest

from connectors.base.contract import NotConnected, Refused, Sends
from tests.unit.connectors.standing import StandIn, reading, until
from tests.unit.connectors.websocket.peer import Scripted, serving, source, url_of


async def test_what_the_broker_has_is_acknowledged_with_the_ids_of_the_service(site: StandIn) -> None:
    service = Scripted(sub='{"id":7,"type":"order"}')
    options = {
        "id_pointer": "/id",
        "ack": {"ack": "{{ data.id }}", "of": "{{ type }}/{{ id }}"},
        "subscribe": [{"message": "sub"}],
    }
    async with serving(service) as server, reading(source(url_of(server), site, **options), site) as read:
        item = await read.next(settle=False)
        assert service.got == ["sub"]
        await read.settle(item)
        await until(lambda: len(service.got) == 2)
    assert json.loads(service.got[1]) == {"ack": 7, "of": "order/7"}


async def test_an_acknowledgement_after_its_connection_is_not_sent_over_another(site: StandIn) -> None:
    service = Scripted(sub='{"id":1}')
    options = {"id_pointer": "/id", "ack": {"ack": "{{ id }}"}, "subscribe": [{"message": "sub"}]}
    async with serving(service) as server:
        one = source(url_of(server), site, **options)
        async with reading(one, site) as read:
            old = await read.next(settle=False)
        async with reading(one, site) as read:
            new = await read.next(settle=False)
            await read.settle(old)
            await read.settle(new)
            await until(lambda: len(service.got) == 3)
    assert service.got == ["sub", "sub", '{"ack":"1"}']
    assert site.notes == {"ack_too_late": 1}


async def test_messages_are_sent_through_the_open_connection(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site, subscribe=[{"message": "sub", "answer": {"data": "ok"}}])
        assert isinstance(one, Sends)
        with pytest.raises(NotConnected):
            await one.send({"op": "buy"}, key="k")
        async with reading(one, site) as read:
            item = asyncio.create_task(read.next())
            await until(lambda: service.got == ["sub"])
            with pytest.raises(NotConnected, match="source 'src' is not connected"):
                await one.send({"op": "buy"}, key="k")
            await service.connections[0].send("ok")
            await site.is_connected.wait()
            assert await one.send({"op": "buy"}, key="k") is None
            await until(lambda: service.got == ["sub", '{"op":"buy"}'])
            item.cancel()
            await asyncio.wait([item])
        with pytest.raises(NotConnected):
            await one.send({"op": "buy"}, key="k")


async def test_texts_are_sent_where_the_service_takes_texts(site: StandIn) -> None:
    service = Scripted()
    async with serving(service) as server:
        one = source(url_of(server), site, send_as="text")
        async with reading(one, site) as read:
            item = asyncio.create_task(read.next())
            await site.is_connected.wait()
            await one.send({"text": "buy"}, key="k")
            await until(lambda: service.got == ["buy"])
            with pytest.raises(Refused, match="needs a member `text`"):
                await one.send({"op": "buy"}, key="k")
            item.cancel()
            await asyncio.wait([item])

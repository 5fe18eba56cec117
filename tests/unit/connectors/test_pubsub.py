"""The kind `pubsub`: what its events are."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base.contract import Received, Unreadable
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.pubsub import EXAMPLE, Config, Source
from tests.unit.connectors.base.services.test_pubsub import NAME, PubSub
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import reading, until
from tests.unit.connectors.timing import Clock


@pytest.fixture
async def site() -> AsyncIterator[Clock]:
    one = Clock()
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        one._http = http
        yield one


@pytest.fixture
async def pubsub(site: Clock) -> AsyncIterator[PubSub]:
    one = PubSub(site.monotonic)
    async with serving(one.answer) as at:
        one.at = at
        yield one


def source(pubsub: PubSub, site: Clock, **options: Any) -> Source:
    given = {"subscription": NAME, "endpoint_url": f"http://{pubsub.at}", "anonymous": True}
    return Source(Config.model_validate({**given, **options}), site)


def test_the_example_is_valid() -> None:
    assert Config.model_validate(EXAMPLE).subscription == EXAMPLE["subscription"]


async def test_a_message_is_an_event_and_is_acknowledged_once_the_broker_has_it(pubsub: PubSub, site: Clock) -> None:
    await pubsub.publish(b'{"total": 3}', key="customer-7", color="red")
    async with reading(source(pubsub, site), site) as one:
        event = await one.event()
        await until(lambda: not pubsub.messages)

    assert (event.id, event.event_type, event.key) == ("m1", "message", "customer-7")
    assert event.data == {
        "body": {"total": 3},
        "attributes": {"color": "red"},
        "message_id": "m1",
        "ordering_key": "customer-7",
    }
    assert event.created_at == datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)


async def test_a_message_that_was_not_acknowledged_comes_again_under_its_id(pubsub: PubSub, site: Clock) -> None:
    await pubsub.publish(b"a")
    kind = source(pubsub, site)
    async with reading(kind, site) as one:
        first = await one.next(settle=False)
    async with reading(kind, site) as one:
        second = await one.event()

    assert isinstance(first, Received)
    assert (first.id, first.data) == (second.id, second.data)


async def test_data_of_another_form_is_a_dead_letter_and_acknowledged(pubsub: PubSub, site: Clock) -> None:
    await pubsub.publish(b"{poison")
    async with reading(source(pubsub, site, body="json"), site) as one:
        letter = await one.next()
        await until(lambda: not pubsub.messages)

    assert isinstance(letter, Unreadable)
    assert (letter.id, letter.raw) == ("m1", b"{poison")


@pytest.mark.parametrize(("attributes", "expected"), [({"kind": "order"}, "order"), ({}, "message")])
async def test_the_type_can_be_an_attribute(
    pubsub: PubSub, site: Clock, attributes: dict[str, str], expected: str
) -> None:
    await pubsub.publish(b"a", **attributes)
    async with reading(source(pubsub, site, type_attribute="kind"), site) as one:
        assert (await one.event()).event_type == expected

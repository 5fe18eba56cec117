"""The kind `pubsub`: what its events are."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base.contract import Received, Unreadable
from connectors.pubsub import EXAMPLE, Config, Source
from tests.unit.connectors.standing import reading, until
from tests.unit.connectors.subscriptions import NAME, PubSub
from tests.unit.connectors.timing import Clock


def source(pubsub: PubSub, clock: Clock, **options: Any) -> Source:
    given = {"subscription": NAME, "endpoint_url": f"http://{pubsub.at}", "anonymous": True}
    return Source(Config.model_validate({**given, **options}), clock)


def test_the_example_is_valid() -> None:
    assert Config.model_validate(EXAMPLE).subscription == EXAMPLE["subscription"]


async def test_a_message_is_an_event_and_is_acknowledged_once_the_broker_has_it(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b'{"total": 3}', key="customer-7", color="red")
    async with reading(source(pubsub, clock), clock) as one:
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


async def test_a_message_that_was_not_acknowledged_comes_again_under_its_id(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"a")
    kind = source(pubsub, clock)
    async with reading(kind, clock) as one:
        first = await one.next(settle=False)
    async with reading(kind, clock) as one:
        second = await one.event()

    assert isinstance(first, Received)
    assert (first.id, first.data) == (second.id, second.data)


async def test_data_of_another_form_is_a_dead_letter_and_acknowledged(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"{poison")
    async with reading(source(pubsub, clock, body="json"), clock) as one:
        letter = await one.next()
        await until(lambda: not pubsub.messages)

    assert isinstance(letter, Unreadable)
    assert (letter.id, letter.raw) == ("m1", b"{poison")


@pytest.mark.parametrize(("attributes", "expected"), [({"kind": "order"}, "order"), ({}, "message")])
async def test_the_type_can_be_an_attribute(
    pubsub: PubSub, clock: Clock, attributes: dict[str, str], expected: str
) -> None:
    await pubsub.publish(b"a", **attributes)
    async with reading(source(pubsub, clock, type_attribute="kind"), clock) as one:
        assert (await one.event()).event_type == expected

"""A subscription of Pub/Sub: what is pulled, how long it is lent, when it is acknowledged, and what became of that."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from connectors.base.contract import NotConnected, Refused
from connectors.base.services.pubsub import Message, Subscription, SubscriptionOptions, _message
from tests.unit.connectors.standing import until
from tests.unit.connectors.subscriptions import NAME, PubSub
from tests.unit.connectors.timing import Clock


def reader(pubsub: PubSub, clock: Clock, **options: Any) -> Subscription:
    given = SubscriptionOptions.model_validate({"anonymous": True, **options})
    return Subscription(given, NAME, clock, endpoint_url=f"http://{pubsub.at}")


async def some(messages: AsyncIterator[Message], count: int) -> list[Message]:
    async with asyncio.timeout(10):
        return [await anext(messages) for _ in range(count)]


def failed(**words: str) -> web.Response:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "X", "metadata": words}
    return web.json_response({"error": {"status": "FAILED_PRECONDITION", "details": [info]}}, status=400)


async def test_a_message_is_what_pubsub_says_of_it(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"\x00hello", key="k", color="red")
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert (one.id, one.data, one.attributes, one.ordering_key) == ("m1", b"\x00hello", {"color": "red"}, "k")
    assert one.published_at == datetime(2026, 6, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert one.delivery_attempt is None
    assert clock.connections == 1


async def test_a_message_is_acknowledged_after_the_broker_has_it_and_not_before(pubsub: PubSub, clock: Clock) -> None:
    for text in (b"a", b"b", b"c"):
        await pubsub.publish(text)
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        one, _, three = await some(messages, 3)
        assert pubsub.asked("acknowledge") == []
        await one.ack()
        await three.ack()
        await until(lambda: list(pubsub.messages) == ["m2"])

    assert pubsub.asked("acknowledge") == [{"ackIds": ["m1:1", "m3:1"]}]
    assert pubsub.asked("modifyAckDeadline")[-1] == {"ackIds": ["m2:1"], "ackDeadlineSeconds": 0}


async def test_the_first_pull_does_not_wait_and_the_others_do(pubsub: PubSub, clock: Clock) -> None:
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await until(lambda: len(pubsub.asked("pull")) == 2)
        assert clock.is_connected.is_set()
        await pubsub.publish(b"a")
        await waiting

    assert pubsub.asked("pull")[:2] == [{"maxMessages": 500, "returnImmediately": True}, {"maxMessages": 500}]


async def test_a_lease_is_made_longer_than_the_subscriptions_own_and_extended(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"a")
    async with aclosing(reader(pubsub, clock, lease=60).messages()) as messages:
        (one,) = await some(messages, 1)
        assert pubsub.messages["m1"].until == 60
        for times in (1, 2, 3):
            await clock.pass_time(30)
            await until(lambda times=times: pubsub.messages["m1"].until == 60 + 30 * times)  # type: ignore[misc]
        await one.ack()
        await until(lambda: not pubsub.messages)


async def test_no_more_is_pulled_than_may_be_in_flight(pubsub: PubSub, clock: Clock) -> None:
    for number in range(5):
        await pubsub.publish(str(number).encode())
    async with aclosing(reader(pubsub, clock, max_in_flight=3).messages()) as messages:
        taken = await some(messages, 3)
        more = asyncio.ensure_future(anext(messages))
        await taken[0].ack()
        assert (await more).data == b"3"

    assert [asked["maxMessages"] for asked in pubsub.asked("pull")[:2]] == [3, 1]


async def test_what_exactly_once_delivery_says_of_an_acknowledgement_is_believed(pubsub: PubSub, clock: Clock) -> None:
    words = {"m1:1": "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE", "m2:1": "PERMANENT_FAILURE_INVALID_ACK_ID"}
    for text in (b"a", b"b", b"c"):
        await pubsub.publish(text)
    pubsub.hook = lambda verb, _body: (
        failed(**words) if verb == "acknowledge" and len(pubsub.asked("acknowledge")) == 1 else None
    )
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        for one in await some(messages, 3):
            await one.ack()
        await until(lambda: 1.0 in clock.slept)
        await clock.pass_time(1)
        await until(lambda: len(pubsub.asked("acknowledge")) == 2)

    assert pubsub.asked("acknowledge") == [{"ackIds": ["m1:1", "m2:1", "m3:1"]}, {"ackIds": ["m1:1"]}]
    assert clock.notes["lease_lost"] == 1


async def test_messages_whose_lease_cannot_be_had_are_not_handed_on(pubsub: PubSub, clock: Clock) -> None:
    for text in (b"a", b"b"):
        await pubsub.publish(text)
    pubsub.hook = lambda verb, _body: (
        failed(**{"m1:1": "PERMANENT_FAILURE_INVALID_ACK_ID"})
        if verb == "modifyAckDeadline" and len(pubsub.asked(verb)) == 1
        else None
    )
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert one.data == b"b"
    assert clock.notes["lease_lost"] == 1


async def test_ids_that_are_refused_as_a_whole_are_lost(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"a")
    error = {"error": {"status": "INVALID_ARGUMENT"}}
    pubsub.hook = lambda verb, _body: web.json_response(error, status=400) if verb == "acknowledge" else None
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        (one,) = await some(messages, 1)
        await one.ack()
        await until(lambda: clock.notes["lease_lost"] == 1)


async def test_deliveries_that_are_repetitions_are_counted(pubsub: PubSub, clock: Clock) -> None:
    received = {"ackId": "x", "deliveryAttempt": 3, "message": {"messageId": "m9"}}
    pubsub.hook = lambda verb, _body: (
        web.json_response({"receivedMessages": [received]}) if len(pubsub.requests) == 1 else None
    )
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert (one.data, one.delivery_attempt, one.published_at) == (b"", 3, None)
    assert clock.notes["redelivered"] == 1


async def test_revoked_credentials_refuse_and_restored_ones_go_on(pubsub: PubSub, clock: Clock) -> None:
    await pubsub.publish(b"a")
    one = reader(pubsub, clock)
    pubsub.hook = lambda _verb, _body: web.json_response({"error": {"status": "PERMISSION_DENIED"}}, status=403)
    with pytest.raises(Refused, match=rf"pulling from subscription {NAME} at .*give the account the role"):
        await anext(one.messages())
    assert clock.connections == 0

    pubsub.hook = lambda _verb, _body: None
    async with aclosing(one.messages()) as messages:
        assert [message.data for message in await some(messages, 1)] == [b"a"]


@pytest.mark.parametrize(
    "answer",
    [
        {"receivedMessages": [{}]},
        {"receivedMessages": [{"ackId": "a", "message": {}}]},
        {"receivedMessages": [{"ackId": "a", "message": {"messageId": "m", "data": "?"}}]},
        {"receivedMessages": [{"ackId": "a", "message": {"messageId": "m", "publishTime": "yesterday"}}]},
        {"receivedMessages": [{"ackId": "a", "message": {"messageId": "m", "attributes": 7}}]},
        {"receivedMessages": [{"ackId": {}, "message": {"messageId": "m"}}]},
        {"receivedMessages": 7},
    ],
)
async def test_an_answer_of_another_shape_ends_the_connection_alone(
    pubsub: PubSub, clock: Clock, answer: dict[str, Any]
) -> None:
    pubsub.hook = lambda verb, _body: web.json_response(answer)
    with pytest.raises(NotConnected, match="none of Pub/Sub's"):
        await anext(reader(pubsub, clock).messages())


@pytest.mark.parametrize("stamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_time_at_the_ends_of_all_time_is_left_out(stamp: str) -> None:
    assert _message({"ackId": "a", "message": {"messageId": "1", "publishTime": stamp}}).published_at is None


@pytest.mark.parametrize("value", [7, None, json.loads("[" * 900 + "]" * 900)])
def test_an_attribute_that_is_no_text_is_none_of_pubsub(value: Any) -> None:
    with pytest.raises(TypeError):
        _message({"ackId": "a", "message": {"messageId": "1", "attributes": {"kind": value}}})


async def test_a_server_that_does_not_wait_is_not_asked_without_end(pubsub: PubSub, clock: Clock) -> None:
    pubsub.hook = lambda _verb, _body: web.json_response({})
    async with aclosing(reader(pubsub, clock).messages()) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await until(lambda: clock.slept == [1.0])
        assert len(pubsub.asked("pull")) == 2
        waiting.cancel()
        await asyncio.wait([waiting])

"""A queue of SQS: what is read, when it is deleted, how long it stays hidden, and in which order it comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import pytest
from aiohttp import web

from connectors.base.contract import NotConnected, Refused
from connectors.base.services.sqs import Message, Queue, QueueOptions, _message
from tests.unit.connectors import queues
from tests.unit.connectors.queues import Sqs
from tests.unit.connectors.standing import until
from tests.unit.connectors.timing import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sqs(clock: Clock) -> AsyncIterator[Sqs]:
    async with queues.queue(clock.monotonic) as one:
        yield one


def reader(sqs: Sqs, clock: Clock, **options: object) -> Queue:
    given = {name: value for name, value in sqs.config.items() if name != "queue_url"}
    return Queue(QueueOptions.model_validate({**given, **options}), sqs.url, clock)


async def some(messages: AsyncIterator[Message], count: int) -> list[Message]:
    async with asyncio.timeout(10):
        return [await anext(messages) for _ in range(count)]


async def test_a_message_is_what_sqs_says_of_it(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("hello", color="red")
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert (one.id, one.message_id, one.body, one.attributes) == ("m1", "m1", "hello", {"color": "red"})
    assert one.group is None
    assert one.sent_at == datetime.fromtimestamp(1_780_000_000, UTC)
    assert one.received_count == 1
    assert clock.connections == 1
    assert clock.heard_bytes > 0


async def test_it_polls_long_and_reads_ten_at_a_time_after_a_first_look(sqs: Sqs, clock: Clock) -> None:
    async with aclosing(reader(sqs, clock, visibility="45s").messages()) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await until(lambda: len(sqs.asked("ReceiveMessage")) == 2)
        assert clock.is_connected.is_set()
        await sqs.send("hello")
        await waiting

    first, second, *_ = sqs.asked("ReceiveMessage")
    assert (first["WaitTimeSeconds"], first["MaxNumberOfMessages"], first["VisibilityTimeout"]) == (0, 10, 45)
    assert second["WaitTimeSeconds"] == 20


async def test_a_message_is_deleted_after_its_ack_and_not_before(sqs: Sqs, clock: Clock) -> None:
    for text in ("a", "b", "c"):
        await sqs.send(text)
    async with aclosing(reader(sqs, clock).messages()) as messages:
        one, two, three = await some(messages, 3)
        assert sqs.asked("DeleteMessageBatch") == []
        await one.ack()
        await three.ack()
        await until(lambda: list(sqs.messages) == ["m2"])

    assert [len(asked["Entries"]) for asked in sqs.asked("DeleteMessageBatch")] == [2]
    assert two.id == "m2"


async def test_what_has_no_ack_is_visible_again_at_once_when_reading_ends(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("a")
    await sqs.send("b")
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (one,) = await some(messages, 1)
        await one.ack()

    assert list(sqs.messages) == ["m2"]
    assert sqs.messages["m2"].hidden_until == 0.0
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (again,) = await some(messages, 1)
    assert (again.id, again.received_count, clock.notes["redelivered"]) == ("m2", 2, 1)


async def test_a_message_stays_hidden_as_long_as_it_waits(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("a")
    async with aclosing(reader(sqs, clock, visibility=60).messages()) as messages:
        (one,) = await some(messages, 1)
        for times in (1, 2, 3):
            await clock.pass_time(30)
            await until(lambda times=times: sqs.messages["m1"].hidden_until == 60 + 30 * times)  # type: ignore[misc]
        await one.ack()
        await until(lambda: not sqs.messages)

    assert one.received_count == 1


async def test_what_comes_at_the_end_of_a_long_poll_is_not_extended_at_once(sqs: Sqs, clock: Clock) -> None:
    async with aclosing(reader(sqs, clock, visibility=20).messages()) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await until(lambda: len(sqs.asked("ReceiveMessage")) == 2)
        clock.advance(19)
        await sqs.send("a")
        one = await waiting
        await until(lambda: len(sqs.asked("ReceiveMessage")) == 3)
        assert sqs.asked("ChangeMessageVisibilityBatch") == []
        await clock.pass_time(5)  # half of it, less what its way to us may have taken
        await until(lambda: sqs.messages["m1"].hidden_until == 19 + 5 + 20)
        await one.ack()
        await until(lambda: not sqs.messages)


async def test_messages_of_a_group_come_in_order_and_one_that_is_lost_stops_it(sqs: Sqs, clock: Clock) -> None:
    for text in ("1", "2", "3"):
        await sqs.send(text, system={"MessageGroupId": "g"})
    async with aclosing(reader(sqs, clock, visibility=60).messages()) as messages:
        (one,) = await some(messages, 1)
        await one.ack()
        await until(lambda: list(sqs.messages) == ["m2", "m3"])
        sqs.messages["m2"].receives += 1  # somebody else has it
        await clock.pass_time(30)
        await until(lambda: clock.notes["lease_lost"] == 1)
        sqs.messages["m2"].hidden_until = 0.0
        await sqs.look()
        two, three = await some(messages, 2)

    assert [(message.body, message.received_count) for message in (one, two, three)] == [("1", 1), ("2", 3), ("3", 2)]


@pytest.mark.parametrize(
    ("deduplication", "expected"), [("order-1", "g/order-1"), ("ab" * 32, "m1"), ("AB" * 32, f"g/{'AB' * 32}")]
)
async def test_the_id_of_a_fifo_message_is_what_its_sender_gave(
    sqs: Sqs, clock: Clock, deduplication: str, expected: str
) -> None:
    """A hash of the body is SQS's own: an equal body five minutes later is another message, not a repetition."""
    await sqs.send("a", system={"MessageGroupId": "g", "MessageDeduplicationId": deduplication})
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert (one.id, one.message_id, one.group) == (expected, "m1", "g")


async def test_no_more_is_read_than_may_be_in_flight(sqs: Sqs, clock: Clock) -> None:
    for number in range(30):
        await sqs.send(str(number))
    async with aclosing(reader(sqs, clock, max_in_flight=20).messages()) as messages:
        taken = await some(messages, 20)
        more = asyncio.ensure_future(anext(messages))
        await asyncio.sleep(0)
        assert sum(one.receives for one in sqs.messages.values()) == 20
        await taken[0].ack()
        assert (await more).body == "20"


async def test_bytes_of_attributes_are_base64(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("a")
    sqs.messages["m1"].attributes = {"raw": {"DataType": "Binary", "BinaryValue": "AP8="}}
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (one,) = await some(messages, 1)

    assert one.attributes == {"raw": "AP8="}


async def test_revoked_credentials_refuse_and_restored_ones_go_on(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("a")
    queue = reader(sqs, clock)
    sqs.hook = lambda _action, _body: queues.error("InvalidClientTokenId", status=403)
    with pytest.raises(Refused, match=r"reading queue 'orders' at 127\.0\.0\.1: .*check the access key") as raised:
        await anext(queue.messages())
    assert "canary" not in str(raised.value)
    assert clock.connections == 0

    sqs.hook = lambda _action, _body: None
    async with aclosing(queue.messages()) as messages:
        assert [one.body for one in await some(messages, 1)] == ["a"]


async def test_credentials_revoked_while_messages_are_deleted_end_the_reading(sqs: Sqs, clock: Clock) -> None:
    await sqs.send("a")
    sqs.hook = lambda action, _body: queues.error("AccessDenied", status=403) if "Delete" in action else None
    async with aclosing(reader(sqs, clock).messages()) as messages:
        (one,) = await some(messages, 1)
        await one.ack()
        with pytest.raises(Refused, match="deleting messages"):
            await anext(messages)


async def test_a_page_that_is_no_answer_is_not_an_empty_queue(sqs: Sqs, clock: Clock) -> None:
    sqs.hook = lambda _action, _body: web.Response(text="<html>log in</html>", content_type="text/html")
    with pytest.raises(NotConnected, match="none of SQS"):
        await anext(reader(sqs, clock).messages())


@pytest.mark.parametrize("text", ["null", "[" * 5_000 + "]" * 5_000])
async def test_json_that_is_no_answer_ends_the_connection_alone(sqs: Sqs, clock: Clock, text: str) -> None:
    sqs.hook = lambda _action, _body: web.Response(text=text, content_type="application/x-amz-json-1.0")
    with pytest.raises(NotConnected, match=r"none of (SQS|AWS)"):
        await anext(reader(sqs, clock).messages())


WHOLE = {"Body": "a", "MessageId": "m", "ReceiptHandle": "h"}


@pytest.mark.parametrize(
    "answer",
    [
        {"Messages": [{"Body": "a"}]},
        {"Messages": [{**WHOLE, "Attributes": {"SentTimestamp": "canary"}}]},
        {"Messages": [{**WHOLE, "Attributes": ["canary"]}]},
        {"Messages": 7},
        {"Messages": [{**WHOLE, "Body": 7}]},
        {"Messages": [{**WHOLE, "ReceiptHandle": {}}]},
    ],
)
async def test_an_answer_that_lacks_what_sqs_says_ends_the_connection_alone(
    sqs: Sqs, clock: Clock, answer: dict[str, object]
) -> None:
    sqs.hook = lambda action, _body: queues.said(answer) if action == "ReceiveMessage" else None
    messages = reader(sqs, clock).messages()
    with pytest.raises(NotConnected, match=r"none of (SQS|AWS)") as raised:
        await some(messages, 2)
    await messages.aclose()

    assert "canary" not in str(raised.value)


async def test_an_emulator_that_does_not_wait_is_not_asked_without_end(sqs: Sqs, clock: Clock) -> None:
    sqs.hook = lambda action, _body: queues.said({}) if action == "ReceiveMessage" else None
    async with aclosing(reader(sqs, clock).messages()) as messages:
        waiting = asyncio.ensure_future(anext(messages))
        await until(lambda: clock.slept == [1.0])
        assert len(sqs.asked("ReceiveMessage")) == 2
        await clock.pass_time(1)
        await until(lambda: clock.slept == [1.0, 1.0])
        waiting.cancel()
        await asyncio.wait([waiting])


@pytest.mark.parametrize("stamp", ["9" * 30, "9" * 400, "-" + "9" * 30])
def test_a_time_beyond_all_times_is_left_out(stamp: str) -> None:
    one = {"MessageId": "m", "ReceiptHandle": "h", "Body": "x", "Attributes": {"SentTimestamp": stamp}}

    assert _message(one).sent_at is None


def test_halves_of_characters_in_a_body_are_replaced() -> None:
    assert _message({"MessageId": "m", "ReceiptHandle": "h", "Body": "a\ud800"}).body == "a?"


def test_the_region_of_aws_is_read_from_the_url_and_an_emulator_is_where_its_url_says() -> None:
    options = QueueOptions()
    clock = Clock()

    assert Queue(options, "https://sqs.eu-west-1.amazonaws.com/1/q", clock).elsewhere is None
    assert Queue(options, "http://me:canary@localhost:9324/000/q", clock).elsewhere == "http://localhost:9324"
    assert Queue(options, "http://me:canary@localhost:9324/000/q", clock).name == "'q' at localhost"

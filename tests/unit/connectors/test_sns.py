"""The kind `sns`: a topic through a queue, subscribed if asked, raw delivery on and off."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from connectors.base.contract import Received, Refused, Unreadable
from connectors.sns import EXAMPLE, Config, Source
from tests.unit.connectors.base.services.test_envelopes import ENVELOPE
from tests.unit.connectors.queues import Sqs
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import reading, until
from tests.unit.connectors.timing import Clock

TOPIC = "arn:aws:sns:eu-west-1:1:orders"


class Aws:
    """A queue and a topic under one address, as emulators have them."""

    def __init__(self) -> None:
        self.sqs = Sqs()
        self.subscribed: list[dict[str, str]] = []
        self.status = 200

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "X-Amz-Target" in request.headers:
            return await self.sqs.answer(request)
        asked = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        self.subscribed.append(asked)
        if self.status != 200:
            error = "<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code></Error></ErrorResponse>"
            return web.Response(status=self.status, text=error, content_type="text/xml")
        result = "<SubscribeResult><SubscriptionArn>arn:s</SubscriptionArn></SubscribeResult>"
        return web.Response(text=f"<SubscribeResponse>{result}</SubscribeResponse>", content_type="text/xml")


@pytest.fixture
async def aws() -> AsyncIterator[Aws]:
    one = Aws()
    async with serving(one.answer) as at:
        one.sqs.url = f"http://{at}/1/orders"
        yield one


def source(aws: Aws, site: Clock, **options: Any) -> Source:
    return Source(Config.model_validate({**aws.sqs.config, "topic_arn": TOPIC, **options}), site)


def test_the_example_is_valid() -> None:
    assert Config.model_validate(EXAMPLE).subscribe


async def test_a_message_in_its_envelope_is_an_event_with_the_id_of_the_topic(aws: Aws) -> None:
    await aws.sqs.send(json.dumps(ENVELOPE))
    async with reading(source(aws, site := Clock()), site) as one:
        event = await one.event()
        await until(lambda: not aws.sqs.messages)

    assert (event.id, event.event_type) == ("sns-1", "notification")
    assert event.data == {
        "message": {"total": 3},
        "subject": "a subject",
        "attributes": {"color": "red"},
        "message_id": "sns-1",
        "topic_arn": TOPIC,
        "received_count": 1,
    }


async def test_a_raw_message_is_an_event_with_the_id_of_the_queue(aws: Aws) -> None:
    await aws.sqs.send('{"total": 3}', color="red")
    async with reading(source(aws, site := Clock()), site) as one:
        event = await one.event()

    assert event.id == "m1"
    assert (event.data["message"], event.data["subject"], event.data["message_id"]) == ({"total": 3}, None, "m1")


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        (json.dumps({**ENVELOPE, "TopicArn": "arn:aws:sns:eu-west-1:1:other"}), {}, "give each topic its own queue"),
        (json.dumps({**ENVELOPE, "Message": "{odd"}), {"body": "json"}, "no JSON"),
    ],
)
async def test_what_cannot_be_an_event_of_the_topic_is_a_dead_letter(
    aws: Aws, body: str, options: dict[str, str], reason: str
) -> None:
    await aws.sqs.send(body)
    async with reading(source(aws, site := Clock(), **options), site) as one:
        letter = await one.next()

    assert isinstance(letter, Unreadable)
    assert (letter.id, letter.raw) == ("sns-1", body.encode())
    assert reason in letter.reason


async def test_a_queue_is_subscribed_and_lets_the_topic_send_to_it(aws: Aws) -> None:
    await aws.sqs.send("a")
    async with reading(source(aws, site := Clock(), subscribe=True), site) as one:
        await one.event()

    (asked,) = aws.subscribed
    assert {name: asked[name] for name in ("Action", "TopicArn", "Protocol", "Endpoint")} == {
        "Action": "Subscribe",
        "TopicArn": TOPIC,
        "Protocol": "sqs",
        "Endpoint": "arn:aws:sqs:eu-west-1:1:q",
    }
    (statement,) = json.loads(aws.sqs.attributes["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Resource"] == "arn:aws:sqs:eu-west-1:1:q"
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": TOPIC}}
    assert site.said == []


async def test_the_policy_of_a_queue_is_left_alone_and_one_that_does_not_name_the_topic_is_told(aws: Aws) -> None:
    aws.sqs.attributes["Policy"] = policy = '{"Statement": []}'
    await aws.sqs.send("a")
    async with reading(source(aws, site := Clock(), subscribe=True), site) as one:
        await one.event()

    assert aws.sqs.attributes["Policy"] == policy
    assert [event for event, _ in site.said] == ["queue_policy_does_not_name_topic"]


async def test_nothing_is_subscribed_unless_asked(aws: Aws) -> None:
    await aws.sqs.send("a")
    async with reading(source(aws, site := Clock()), site) as one:
        assert isinstance(await one.next(), Received)

    assert aws.subscribed == []
    assert "Policy" not in aws.sqs.attributes


async def test_a_topic_that_is_not_there_is_refused(aws: Aws) -> None:
    aws.status = 404
    async with reading(source(aws, site := Clock(), subscribe=True), site) as one:
        with pytest.raises(Refused, match=rf"subscribing queue .* to {TOPIC}: .*check the name and"):
            await one.next()

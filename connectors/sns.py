"""Messages of an Amazon SNS topic, through an SQS queue that is subscribed to it, deleted once Kafka has them.

Raw delivery may be on or off. Off is better: the envelope's MessageId is the message's own, whichever way it came.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import orjson

from connectors.base import contract
from connectors.base.contract import Delivery, Item, Received, Unreadable
from connectors.base.options import Field, Url
from connectors.base.services.aws import Aws, region_of, told
from connectors.base.services.bodies import Form, NotOfThatForm, read
from connectors.base.services.envelopes import Unwrap, unwrapped
from connectors.base.services.sqs import Message, Queue, QueueOptions

EXAMPLE: Final[dict[str, Any]] = {
    "topic_arn": "arn:aws:sns:eu-west-1:123456789012:orders",
    "queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders-headgate",
    "subscribe": True,
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE
EMITS: Final = """\
`notification`: `{message, subject, attributes, message_id, topic_arn, received_count}`. The key is the group of a
FIFO topic."""

EVENT_TYPE: Final = "notification"


class Config(QueueOptions):
    """The options of an `sns` source."""

    topic_arn: str = Field(pattern=r"^arn:[a-z-]+:sns:[a-z0-9-]+:\d+:[A-Za-z0-9_.-]+$", description="ARN of the topic.")
    queue_url: Url = Field(description="URL of the queue through which the topic is read; one of its own.")
    subscribe: bool = Field(
        default=False,
        description="Subscribe the queue to the topic at each start (it stays so), and let the topic send to the queue "
        "if the queue has no policy yet. Needs sns:Subscribe, sqs:GetQueueAttributes and sqs:SetQueueAttributes.",
    )
    body: Form = Field(
        default=Form.AUTO,
        description="How messages are read: `json`, `text`, `base64`, or `auto`: objects and lists of JSON as such, "
        "anything else as text.",
    )


class Source:
    """Reads one topic."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._queue = Queue(config, config.queue_url, site)
        self._aws = Aws(config, site)

    async def read(self) -> AsyncIterator[Item]:
        """Yield messages of the topic."""
        if self._config.subscribe:
            await self._subscribe()
        async with aclosing(self._queue.messages()) as messages:
            async for message in messages:
                yield self._item(message)

    async def _subscribe(self) -> None:
        """Subscribe the queue; the topic answers with the subscription that is there, if it is."""
        topic_arn, queue_url = self._config.topic_arn, self._queue.url
        async with self._queue.client() as queues:
            with told(f"looking at queue {self._queue.name}"):
                asked = await queues.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn", "Policy"])
                attributes = asked["Attributes"]
                queue_arn, policy = attributes["QueueArn"], attributes.get("Policy", "")
                if not policy:
                    policy = _policy(queue_arn, topic_arn)
                    await queues.set_queue_attributes(QueueUrl=queue_url, Attributes={"Policy": policy})
        if topic_arn not in policy and "*" not in policy:
            self._site.say("queue_policy_does_not_name_topic", queue=queue_arn, topic=topic_arn)
        async with self._aws.client("sns", region=region_of(topic_arn), endpoint_url=self._queue.elsewhere) as topics:
            with told(f"subscribing queue {self._queue.name} to {topic_arn}"):
                await topics.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn)

    def _item(self, message: Message) -> Item:
        letter = unwrapped(message, Unwrap.AUTO)
        raw = message.body.encode()
        if letter.topic_arn not in (None, self._config.topic_arn):
            reason = (
                f"it is of topic {letter.topic_arn}, not of {self._config.topic_arn}; give each topic its own queue"
            )
            return Unreadable(id=letter.id, reason=reason, raw=raw, ack=message.ack)
        try:
            body = read(letter.body.encode(), self._config.body)
        except NotOfThatForm as error:
            return Unreadable(id=letter.id, reason=str(error), raw=raw, ack=message.ack)
        data = {
            "message": body,
            "subject": letter.subject,
            "attributes": dict(letter.attributes),
            "message_id": message.message_id if letter.topic_arn is None else letter.id,
            "topic_arn": self._config.topic_arn,
            "received_count": message.received_count,
        }
        return Received(
            id=letter.id,
            event_type=EVENT_TYPE,
            data=data,
            key=message.group,
            created_at=letter.sent_at,
            ack=message.ack,
        )


def _policy(queue_arn: str, topic_arn: str) -> str:
    """Return the policy of a queue that lets one topic send to it."""
    statement = {
        "Sid": f"Headgate{hashlib.sha256(topic_arn.encode()).hexdigest()[:16]}",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
    }
    return orjson.dumps({"Version": "2012-10-17", "Statement": [statement]}).decode()

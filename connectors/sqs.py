"""Messages of an Amazon SQS queue, standard or FIFO, deleted once Kafka has them.

Messages of one group of a FIFO queue (the event's key) are events in their order. Which messages go to a dead letter
queue, and when, is the queue's redrive policy; `received_count` says how often a message was read.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from connectors.base import contract
from connectors.base.contract import Delivery, Item, Received, Unreadable
from connectors.base.options import Field, Url
from connectors.base.services.bodies import Form, NotOfThatForm, read
from connectors.base.services.envelopes import NoEnvelope, Unwrap, unwrapped
from connectors.base.services.sqs import Message, Queue, QueueOptions

EXAMPLE: Final[dict[str, Any]] = {"queue_url": "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"}
DELIVERY: Final = Delivery.AT_LEAST_ONCE
EMITS: Final = """\
`message`, or what the attribute `type_attribute` says. The data is `{body, attributes, message_id, received_count}`,
and `group_id`, `subject` and `topic_arn` where there are some. The key is the group."""

EVENT_TYPE: Final = "message"


class Config(QueueOptions):
    """The options of an `sqs` source."""

    queue_url: Url = Field(description="URL of the queue, as AWS shows it.")
    body: Form = Field(
        default=Form.AUTO,
        description="How bodies are read: `json`, `text`, `base64`, or `auto`: objects and lists of JSON as such, "
        "anything else as text.",
    )
    unwrap: Unwrap = Field(
        default=Unwrap.AUTO,
        description="Whether bodies are envelopes of SNS: `sns`: all of them; `auto`: those that look like one; "
        "`none`: they are left as they are.",
    )
    type_attribute: str | None = Field(
        default=None,
        max_length=256,
        description="Message attribute whose text is the type of the event; without it the type is `message`.",
    )


class Source:
    """Reads one queue."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config = config
        self._queue = Queue(config, config.queue_url, site)

    async def read(self) -> AsyncIterator[Item]:
        """Yield messages, those of a group in order."""
        async with aclosing(self._queue.messages()) as messages:
            async for message in messages:
                yield self._item(message)

    def _item(self, message: Message) -> Item:
        try:
            letter = unwrapped(message, self._config.unwrap)
            body = read(letter.body.encode(), self._config.body)
        except (NoEnvelope, NotOfThatForm) as error:
            return Unreadable(id=message.id, reason=str(error), raw=message.body.encode(), ack=message.ack)
        kind = letter.attributes.get(self._config.type_attribute) if self._config.type_attribute else None
        data = {
            "body": body,
            "attributes": dict(letter.attributes),
            "message_id": message.message_id,
            "received_count": message.received_count,
        }
        more = {"group_id": message.group, "subject": letter.subject, "topic_arn": letter.topic_arn}
        data.update({name: value for name, value in more.items() if value is not None})
        return Received(
            id=letter.id,
            event_type=kind if isinstance(kind, str) and kind else EVENT_TYPE,
            data=data,
            key=message.group,
            created_at=letter.sent_at,
            ack=message.ack,
        )

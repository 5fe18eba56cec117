"""Messages of a Google Pub/Sub subscription, acknowledged once Kafka has them.

Messages with the same ordering key (the event's key) are events in their order. Which messages go to a dead letter
topic, and when, is the subscription's dead letter policy; with one, `delivery_attempt` says how often a message came.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from connectors.base import contract
from connectors.base.contract import Delivery, Item, Received, Unreadable
from connectors.base.options import Field
from connectors.base.services.bodies import Form, NotOfThatForm, read
from connectors.base.services.pubsub import Message, Subscription, SubscriptionName, SubscriptionOptions

EXAMPLE: Final[dict[str, Any]] = {
    "subscription": "projects/my-project/subscriptions/orders-headgate",
    "credentials": "{{ env.GOOGLE_CREDENTIALS }}",
}
DELIVERY: Final = Delivery.AT_LEAST_ONCE
EMITS: Final = """\
`message`, or what the attribute `type_attribute` says. The data is `{body, attributes, message_id}`, and
`ordering_key` and `delivery_attempt` where the subscription has them. The key is the ordering key."""

EVENT_TYPE: Final = "message"


class Config(SubscriptionOptions):
    """The options of a `pubsub` source."""

    subscription: SubscriptionName = Field(
        description="Full name of the subscription, one that is pulled: `projects/my-project/subscriptions/orders`."
    )
    body: Form = Field(
        default=Form.AUTO,
        description="How data is read: `json`, `text`, `base64`, or `auto`: objects and lists of JSON as such, else "
        "text, else base64.",
    )
    type_attribute: str | None = Field(
        default=None,
        max_length=256,
        description="Attribute whose text is the type of the event; without it the type is `message`.",
    )


class Source:
    """Reads one subscription."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config = config
        self._subscription = Subscription(config, config.subscription, site, endpoint_url=config.endpoint_url)

    async def read(self) -> AsyncIterator[Item]:
        """Yield messages, those of an ordering key in order."""
        async with aclosing(self._subscription.messages()) as messages:
            async for message in messages:
                yield self._item(message)

    def _item(self, message: Message) -> Item:
        try:
            body = read(message.data, self._config.body)
        except NotOfThatForm as error:
            return Unreadable(id=message.id, reason=str(error), raw=message.data, ack=message.ack)
        kind = message.attributes.get(self._config.type_attribute) if self._config.type_attribute else None
        data = {"body": body, "attributes": dict(message.attributes), "message_id": message.id}
        more = {"ordering_key": message.ordering_key, "delivery_attempt": message.delivery_attempt}
        data.update({name: value for name, value in more.items() if value is not None})
        return Received(
            id=message.id,
            event_type=kind or EVENT_TYPE,
            data=data,
            key=message.ordering_key,
            created_at=message.published_at,
            ack=message.ack,
        )

"""Deliveries over HTTP: whoever has an event calls `/webhooks/<provider>/<id>` of the gateway.

The gateway answers 2xx once the broker has the event; senders repeat what was not answered so, under the same id.

Modules: there is no Source, for nothing is read: the gateway hands each request to the Receiver of its source.
"""

from typing import Any, Final

from connectors.base.contract import Delivery
from connectors.webhook.config import Config, Provider
from connectors.webhook.messages import Accepted, Answered, Denied, Outcome, Request
from connectors.webhook.receiver import Receiver

EXAMPLE: Final[dict[str, Any]] = {"provider": "github", "secret": "{{ env.GITHUB_WEBHOOK_SECRET }}"}
DELIVERY: Final = Delivery.AT_LEAST_ONCE
EMITS: Final = """\
the type that the provider says (of `github` the `X-GitHub-Event`), else `received`. The data is `{body, encoding,
headers, query}`, with `publish: body` the body alone."""

__all__ = [
    "DELIVERY",
    "EMITS",
    "EXAMPLE",
    "Accepted",
    "Answered",
    "Config",
    "Denied",
    "Outcome",
    "Provider",
    "Receiver",
    "Request",
]

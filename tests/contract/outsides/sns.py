"""A topic whose envelopes come through a queue."""

import json
from collections.abc import Mapping
from typing import Any, Final

from tests.contract.outsides.sqs import Queue
from tests.unit.connectors.base.services.test_envelopes import ENVELOPE


class Topic(Queue):
    kind = "sns"
    deaths = 8  # the world of sqs has the same reader

    @property
    def options(self) -> Mapping[str, Any]:
        return {**super().options, "topic_arn": ENVELOPE["TopicArn"]}

    def body(self, number: int) -> str:
        return json.dumps({**ENVELOPE, "MessageId": f"sns-{number}", "Message": json.dumps({"n": number})})

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["message"]["n"])


OUTSIDES: Final = {"sns": Topic}

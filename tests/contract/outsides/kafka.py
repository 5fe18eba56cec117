"""A topic of a real broker, which the whole session shares."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.contract.outside import Outside


class Topic(Outside):
    kind = "kafka"
    begins_with_position = True
    edited: ClassVar[Mapping[str, Any]] = {"idle_timeout": 50}
    on_kafka = True

    async def open(self) -> None:
        self._topic = f"contract.{self.folder.name}"
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self._topic, 2, 1)])
        finally:
            await admin.close()
        self._producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap)
        await self._producer.start()
        self.opened.push_async_callback(self._producer.stop)

    @property
    def options(self) -> Mapping[str, Any]:
        return {"bootstrap": [self.bootstrap], "topics": [self._topic], "start": "earliest"}

    async def happen(self, number: int) -> None:
        await self._producer.send_and_wait(self._topic, json.dumps({"n": number}).encode(), partition=number % 2)


OUTSIDES: Final = {"kafka": Topic}

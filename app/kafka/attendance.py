"""Whether anybody is in a consumer group, asked again and again: what its members said last is true only with them."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connectors.base.closing import close

EVERY_SECONDS: Final = 5.0


class Attendance:
    """One group. Kafka that is away, or does not let us ask, is no reason to doubt what is known."""

    def __init__(self, group: str, *, client: Mapping[str, Any], every_seconds: float = EVERY_SECONDS) -> None:
        self._group, self._client, self._every_seconds = group, client, every_seconds
        self.is_attended = True

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            admin = AIOKafkaAdminClient(**self._client)
            try:
                await admin.start()
                while True:
                    self.is_attended = await self._ask(admin)
                    await asyncio.sleep(self._every_seconds)
            except (KafkaError, OSError):
                await asyncio.sleep(self._every_seconds)
            finally:
                await close(admin.close())

    async def _ask(self, admin: AIOKafkaAdminClient) -> bool:
        (answer,) = await admin.describe_consumer_groups([self._group])
        (group,) = answer.to_object()["groups"]
        return bool(group["members"]) or group["error_code"] != 0

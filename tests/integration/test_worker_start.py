"""A worker that cannot start says so and ends; supervisors and people wait for that."""

import asyncio
from pathlib import Path

import pytest
from aiokafka import errors

from app.kafka.embedded import EmbeddedKafka
from app.kafka.follow import Follower
from app.settings import Settings
from app.wiring import worker
from tests.integration.owners import partition

FLOW = """
from headgate import workflow

@workflow(id="one", trigger_on_event="a")
async def one(ctx, payload):
    return None
"""


async def test_a_worker_that_may_not_read_the_announcements_ends_with_the_reason(
    kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(_follower: Follower) -> None:
        raise errors.TopicAuthorizationFailedError(f"{kafka_prefix}workflows")

    monkeypatch.setattr(Follower, "run", refused)  # the embedded Kafka lets everybody read
    (tmp_path / "flow.py").write_text(FLOW)
    async with partition(kafka.bootstrap, kafka_prefix) as one:
        given = {
            "kafka.bootstrap": kafka.bootstrap,
            "kafka.prefix": kafka_prefix,
            "kafka.partitions": one.settings.kafka.partitions,
            "worker.metrics_port": None,
            "worker.instance_id": "w0",
        }
        settings = Settings.load(given, dev=True, environ={})
        with pytest.raises(errors.TopicAuthorizationFailedError):
            async with asyncio.timeout(20):
                await worker.run(settings, [str(tmp_path / "flow.py")], stop=asyncio.Event())

"""Whether anybody is in a group."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from app.kafka import attendance
from app.kafka.attendance import Attendance

MEMBER = {"member_id": "m"}


class Answer:
    def __init__(self, group: dict[str, Any]) -> None:
        self._group = group

    def to_object(self) -> dict[str, Any]:
        return {"groups": [self._group]}


class FakeAdmin:
    """Answers what the test has put down, one after the other; the last one stays. None: Kafka is away."""

    answers: list[dict[str, Any] | None]
    enough: asyncio.Event
    """All of them have been taken in."""
    asked = 0
    opened = 0
    closed = 0

    def __init__(self, **_client: Any) -> None:
        type(self).opened += 1

    async def start(self) -> None: ...

    async def close(self) -> None:
        type(self).closed += 1

    async def describe_consumer_groups(self, groups: Sequence[str]) -> list[Answer]:
        assert list(groups) == ["headgate.connectors"]
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        type(self).asked += 1
        if self.asked > len(self.answers):
            self.enough.set()
        if answer is None:
            raise KafkaConnectionError
        return [Answer({"error_code": 0, "members": []} | answer)]


@pytest.mark.parametrize(
    ("answers", "attended"),
    [
        ([{"members": [MEMBER]}], True),
        ([{"members": []}], False),
        ([{"members": []}, {"members": [MEMBER]}], True),
        ([{"error_code": 30}], True),
        ([None], True),
        ([{"members": []}, None], False),
        ([None, {"members": []}], False),
    ],
)
async def test_a_group_is_attended_as_kafka_says(
    monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any] | None], attended: bool
) -> None:
    class Fake(FakeAdmin):
        pass

    Fake.answers, Fake.enough = answers, asyncio.Event()
    monkeypatch.setattr(attendance, "AIOKafkaAdminClient", Fake)
    asked = Attendance("headgate.connectors", client={}, every_seconds=0)
    assert asked.is_attended
    task = asyncio.create_task(asked.run())
    await Fake.enough.wait()
    assert asked.is_attended is attended
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert Fake.closed == Fake.opened

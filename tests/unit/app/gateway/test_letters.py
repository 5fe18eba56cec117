"""Dead letters of webhooks: what their topic refuses as too large is shorter when it is delivered again."""

from typing import Any

import orjson
import pytest

from app.gateway.letters import Letters
from app.kafka.producer import Outgoing, TooLarge
from tests.unit.app.gateway.hooked import letter


class Topic:
    """Takes batches below a size, as a broker does."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.written: list[Outgoing] = []

    @property
    def pending_bytes(self) -> int:
        return 0

    async def produce(self, outgoing: Any) -> None:
        if sum(len(value) for _, _, value, _ in outgoing) > self._most_bytes:
            raise TooLarge("Kafka did not acknowledge.", retry_after_seconds=1)
        self.written += outgoing


async def test_a_letter_that_is_too_large_is_written_without_its_value_when_it_is_delivered_again() -> None:
    topic = Topic(3_000)
    letters, large, small = Letters(topic), letter(b"x" * 5_000), letter(b"y" * 1_500)
    for _ in range(2):  # the first time nobody knows which of them it was
        with pytest.raises(TooLarge):
            await letters.write([small, large], "hook")
    topic.written.clear()
    await letters.write([small, large], "hook")
    values = [orjson.loads(value) for _, _, value, _ in topic.written]
    assert [one["value"] for one in values] == ["y" * 1_500, None]
    assert values[1]["omitted"]["value"] == 5_000


async def test_letters_that_are_too_large_together_are_written_whole() -> None:
    topic = Topic(3_000)
    letters, several = Letters(topic), [letter(b"%d" % number * 1_000) for number in range(4)]
    with pytest.raises(TooLarge):
        await letters.write(several, "hook")
    await letters.write(several, "hook")
    assert [value for _, _, value, _ in topic.written] == [one.value for one in several]

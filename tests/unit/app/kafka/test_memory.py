"""The log in memory where one contract for both logs does not reach: answers that are lost."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from app.kafka.log import AppendFailed, Entry
from app.kafka.memory import MemoryLog, MemorySender
from app.kafka.memory_cluster import Direct, MemoryCluster, Unanswered

Answer = TypeVar("Answer")


class Lossy(Direct):
    """Loses answers when it is told to."""

    lose = False

    async def call(self, what: str, do: Callable[[], Answer]) -> Answer:
        answer = do()
        if self.lose:
            raise Unanswered("lost")
        return answer


async def test_an_append_whose_answer_is_lost_lands_and_its_owner_appends_no_more() -> None:
    cluster = MemoryCluster(1, now_ms=lambda: 0)
    network = Lossy()
    log = MemoryLog(0, cluster=cluster, sender=MemorySender(cluster), network=network)
    await log.fence()
    network.lose = True
    with pytest.raises(AppendFailed, match="lost"):
        await log.append([Entry(b"a", b"v")])
    network.lose = False
    with pytest.raises(AppendFailed, match="an earlier append has failed"):
        await log.append([Entry(b"b", b"v")])
    assert [one.key for one in cluster.read("journal", 0)] == [b"a"]

"""Questions for offsets that go together: one request at a time to each broker, whatever it answers."""

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors

from app.kafka.offsets import EARLIEST, LATEST, Offsets


class Broker:
    """Answers when it is told to; it has `kept` to `end` of every partition."""

    def __init__(self, *, kept: int = 3, end: int = 9) -> None:
        self.kept, self.end = kept, end
        self.requests: list[tuple[int, int, list[tuple[str, list[tuple[int, int]]]]]] = []
        self._answers: deque[asyncio.Future[Any]] = deque()

    async def send(self, node: int, request: Any) -> Any:
        self.requests.append((node, request._isolation_level, [(topic, list(few)) for topic, few in request._topics]))
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    def answer(self, *, code: int = 0, leave_out: int = -1) -> None:
        _, _, topics = self.requests[-1]
        found = [
            (
                name,
                [(one, code, -1, self.kept if when == EARLIEST else self.end) for one, when in few if one != leave_out],
            )
            for name, few in topics
        ]
        self._answers.popleft().set_result(SimpleNamespace(topics=found))

    def fail(self, error: Exception) -> None:
        self._answers.popleft().set_exception(error)


async def rest() -> None:
    """Let all tasks go as far as they can."""
    for _ in range(8):
        await asyncio.sleep(0)


def ask(offsets: Offsets, partition: int, when: int = LATEST, *, node: int = 1, **more: Any) -> "asyncio.Task[int]":
    return asyncio.create_task(offsets.ask(node, "events", partition, when, **more))


async def test_what_is_asked_at_once_is_one_request_and_what_comes_meanwhile_the_next() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    first = [ask(offsets, partition) for partition in range(3)]
    await rest()
    later = [ask(offsets, partition) for partition in (3, 4)]
    await rest()
    assert broker.requests == [(1, 0, [("events", [(0, LATEST), (1, LATEST), (2, LATEST)])])]
    broker.answer()
    assert await asyncio.gather(*first) == [9, 9, 9]
    await rest()
    assert broker.requests[1:] == [(1, 0, [("events", [(3, LATEST), (4, LATEST)])])]
    broker.answer()
    assert await asyncio.gather(*later) == [9, 9]


async def test_no_answer_is_older_than_its_question() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    before = ask(offsets, 0)
    await rest()
    after = ask(offsets, 0)  # the answer to the one before may have been given already
    await rest()
    broker.answer()
    assert await before == 9
    broker.end = 12
    await rest()
    broker.answer()
    assert await after == 12


async def test_a_partition_stands_in_a_request_once() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    asked = [ask(offsets, 0, LATEST), ask(offsets, 0, EARLIEST), ask(offsets, 0, LATEST)]
    await rest()
    assert broker.requests == [(1, 0, [("events", [(0, LATEST)])])]
    broker.answer()
    await rest()
    broker.answer()
    assert await asyncio.gather(*asked) == [9, 3, 9]
    assert len(broker.requests) == 2


async def test_other_brokers_and_what_is_committed_have_requests_of_their_own() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    asked = [ask(offsets, 0), ask(offsets, 0, node=2), ask(offsets, 0, committed=True)]
    await rest()
    assert [(node, isolation) for node, isolation, _ in broker.requests] == [(1, 0), (2, 0), (1, 1)]
    for _ in asked:
        broker.answer()
    assert await asyncio.gather(*asked) == [9, 9, 9]


async def test_an_error_of_one_partition_is_its_own() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    asked = [ask(offsets, 0), ask(offsets, 1)]
    await rest()
    broker.answer(leave_out=1)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert found[0] == 9
    assert isinstance(found[1], errors.UnknownError)
    again = ask(offsets, 0)
    await rest()
    broker.answer(code=errors.NotLeaderForPartitionError.errno)
    with pytest.raises(errors.NotLeaderForPartitionError):
        await again


@pytest.mark.parametrize("error", [errors.KafkaConnectionError("gone"), RuntimeError("unheard of")])
async def test_an_error_of_the_request_is_told_to_all_of_it_and_the_next_is_asked(error: Exception) -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    asked = [ask(offsets, 0), ask(offsets, 1)]
    await rest()
    later = ask(offsets, 2)
    await rest()
    broker.fail(error)
    assert await asyncio.gather(*asked, return_exceptions=True) == [error, error]
    await rest()
    broker.answer()
    assert await later == 9


async def test_who_has_gone_is_not_told_and_disturbs_no_other() -> None:
    broker = Broker()
    offsets = Offsets(broker.send)
    gone, stays = ask(offsets, 0), ask(offsets, 0)
    await rest()
    gone.cancel()
    await rest()
    broker.answer()
    assert await stays == 9
    assert gone.cancelled()


async def test_whoever_waits_is_told_when_the_client_is_closed() -> None:
    offsets = Offsets(Broker().send)
    asked = ask(offsets, 0)
    await rest()
    waiting = ask(offsets, 1)
    await rest()
    offsets.close()
    for one in (asked, waiting):
        with pytest.raises(errors.KafkaConnectionError):
            await one

"""Positions around a producer that fails as a test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import errors

from connectors.base.closing import end
from connectors.base.fleet.positions import Fenced, Positions
from topics.sources import Cursor


class Producer:
    def __init__(self, error: Exception) -> None:
        self._error = error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def send(self, *_: Any, **__: Any) -> None:
        raise self._error


def moved(error: Exception) -> Positions:
    made: Any = Positions(0, prefix="", client={})
    made._producer = Producer(error)
    made.move("a", Cursor(position=1, epoch="e", kind="k"))
    return made  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "error",
    [
        errors.ProducerFenced(),
        errors.InvalidTxnState(),
        errors.KafkaConnectionError(),
        errors.KafkaError("Unexpected error during batch delivery"),  # InvalidTxnState, as aiokafka's sender has it
        OSError("broken pipe"),
    ],
)
async def test_a_transaction_that_fails_begins_everything_anew_and_ends_no_process(error: Exception) -> None:
    with pytest.raises(Fenced, match=f"partition 0: {type(error).__name__}"):
        await moved(error).run()


async def test_what_trying_again_does_not_cure_is_raised() -> None:
    with pytest.raises(errors.TopicAuthorizationFailedError):
        await moved(errors.TopicAuthorizationFailedError()).run()


class Slow:
    """A producer whose transactions are committed when a test says so."""

    def __init__(self) -> None:
        self.commits = asyncio.Semaphore(0)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield
        await self.commits.acquire()

    async def send(self, *_: Any, **__: Any) -> "asyncio.Future[None]":
        return asyncio.get_running_loop().create_future()


async def test_a_position_is_stored_once_its_transaction_is_committed() -> None:
    made: Any = Positions(0, prefix="", client={})
    made._producer = slow = Slow()
    first, second = (Cursor(position=number, epoch="e", kind="k") for number in (1, 2))
    writing = asyncio.create_task(made.run())
    stored = []
    for cursor in (first, second, None):
        made.move("a", cursor)
        for _ in range(10):
            await asyncio.sleep(0)
        stored.append(dict(made.stored))
        slow.commits.release()
        await made.settled()
        stored.append(dict(made.stored))
    await end([writing])

    assert stored == [{}, {"a": first}, {"a": first}, {"a": second}, {"a": second}, {}]

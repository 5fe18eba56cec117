"""Results that somebody waits for, on a real broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.kafka import answers, clients
from app.kafka.answers import Answers
from app.kafka.embedded import EmbeddedKafka
from app.kafka.fetching import Fetching
from app.kafka.log import Entry, LogError
from app.kafka.wire import Wire
from app.settings import KafkaSettings
from tests.integration.owners import partition


@asynccontextmanager
async def following(kafka: EmbeddedKafka, prefix: str) -> AsyncIterator[Answers]:
    made = Answers(f"{prefix}results", client=clients.aiokafka_config(KafkaSettings(bootstrap=kafka.bootstrap)))
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.wait({running})


async def test_a_result_is_heard_by_all_who_wait_for_it_and_by_nobody_else(
    kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    async with partition(kafka.bootstrap, kafka_prefix) as one, following(kafka, kafka_prefix) as made:
        log, _ = await one.taken()
        await log.deliver("results", [Entry(b"charge:1", b"before anybody waited")])
        with made.expected("charge:1") as first, made.expected("charge:1") as second, made.expected("x") as third:
            await first.listening.wait()
            await log.deliver("results", [Entry(b"charge:2", b"another's"), Entry(b"charge:1", b"the result")])
            assert await first.result == await second.result == b"the result"
            assert not third.result.done()


async def test_reading_stops_when_nobody_waits_and_begins_again(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.05)
    async with partition(kafka.bootstrap, kafka_prefix) as one, following(kafka, kafka_prefix) as made:
        log, _ = await one.taken()
        for number in range(3):
            with made.expected(f"charge:{number}") as answer:
                await answer.listening.wait()
                await log.deliver("results", [Entry(b"charge:%d" % number, b"%d" % number)])
                assert await answer.result == b"%d" % number
            while made.reading:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.01)


async def test_who_comes_while_reading_ends_waits_for_the_next_reading(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, close = asyncio.Event(), asyncio.Event()

    class Slow(Wire):
        async def close(self) -> None:
            closing.set()
            await close.wait()
            await super().close()

    monkeypatch.setattr(answers, "Wire", Slow)
    monkeypatch.setattr(answers, "LINGER_SECONDS", 0.0)
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.05)
    async with (
        asyncio.timeout(30),
        partition(kafka.bootstrap, kafka_prefix) as one,
        following(kafka, kafka_prefix) as made,
    ):
        log, _ = await one.taken()
        with made.expected("charge:1") as first:
            await first.listening.wait()
        await closing.wait()
        with made.expected("charge:2") as second:
            assert not second.listening.is_set()
            close.set()
            await second.listening.wait()
            await log.deliver("results", [Entry(b"charge:2", b"the result")])
            assert await second.result == b"the result"


async def test_an_error_of_the_reader_hides_no_result(
    kafka: EmbeddedKafka, kafka_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = asyncio.Event()

    class Broken(Fetching):
        async def some(self, *given: Any, **options: Any) -> Any:
            if broken.is_set():
                raise LogError("the broker went away")
            return await super().some(*given, **options)

    monkeypatch.setattr(answers, "Fetching", Broken)
    monkeypatch.setattr(answers, "POLL_SECONDS", 0.05)
    async with (
        asyncio.timeout(30),
        partition(kafka.bootstrap, kafka_prefix) as one,
        following(kafka, kafka_prefix) as made,
    ):
        log, _ = await one.taken()
        with made.expected("charge:1") as first:
            await first.listening.wait()
            broken.set()
            while made.reading:  # noqa: ASYNC110 nobody tells
                await asyncio.sleep(0.01)
            with made.expected("charge:2") as second:
                assert not second.listening.is_set(), "nobody reads for a moment"
            await log.deliver("results", [Entry(b"charge:1", b"the result")])
            broken.clear()
            assert await first.result == b"the result"

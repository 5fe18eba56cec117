"""Readiness and log follow what the requests to Kafka come to."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import errors

from app.kafka.contact import Contact
from app.kafka.log import AppendFailed, LogError
from app.kafka.wire import is_away
from app.observe.health import Health
from app.wiring.reach import SILENT_SECONDS, KafkaLost, Reach


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loop's time, set by the test."""
    now = [1_000.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    return now


async def test_kafka_is_down_while_a_broker_is_silent_and_up_once_it_answers(
    time: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    contact, health = Contact(), Health("kafka")
    reach = Reach(cast(Any, SimpleNamespace(contact=contact)), health, "kafka:9092")
    assert health.report().record() == {"ready": True, "checks": {"kafka": {"up": True, "detail": "kafka:9092"}}}
    contact.asked(1)
    for seconds in (SILENT_SECONDS, 1.0, 1.0):
        time[0] += seconds
        reach.look()
    check = health.report().checks["kafka"]
    assert (check.up, check.detail) == (False, "no answer for 5 s (no answer)")
    assert "exit code 3" in check.remedy
    contact.answered(1)
    reach.look()
    assert health.report().ready
    assert [one.getMessage() for one in caplog.records] == ["kafka_away", "kafka_back"]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def test_only_brokers_that_did_not_answer_are_away() -> None:
    assert is_away(caused(AppendFailed("journal-1"), errors.NodeNotReadyError()))
    assert is_away(caused(LogError("not acknowledged"), errors.KafkaTimeoutError()))
    assert not is_away(AppendFailed("the append returned offset 4 where 3 follows"))
    assert not is_away(caused(AppendFailed("journal-1"), errors.OutOfOrderSequenceNumber()))
    assert not is_away(caused(LogError("refused"), errors.TopicAuthorizationFailedError()))


def test_the_end_for_want_of_kafka_has_its_own_code_and_a_remedy() -> None:
    lost = KafkaLost("kafka:9092", AppendFailed("journal-1: NodeNotReadyError"))
    assert lost.exit_code == 3
    assert "kafka:9092" in str(lost)
    assert "headgate doctor" in str(lost)

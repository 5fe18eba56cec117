"""What counts as silence: a broker that is asked and does not answer, and nothing else."""

import asyncio

import pytest
from aiokafka import errors

from app.kafka.contact import RECENT_SECONDS, Contact

Time = list[float]
FAILED = errors.NodeNotReadyError()


@pytest.fixture
async def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The loop's time, set by the test."""
    now = [1_000.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    return now


@pytest.fixture
async def contact(time: Time) -> Contact:
    return Contact()


async def test_a_broker_that_answers_is_not_silent(contact: Contact, time: Time) -> None:
    contact.asked(1)
    time[0] += 0.5
    contact.answered(1)
    time[0] += 60
    assert (contact.silence(), contact.idle()) == ((0.0, ""), 60)


async def test_a_request_without_an_answer_is_silence_from_the_last_answer_or_the_first_request(
    contact: Contact, time: Time
) -> None:
    contact.asked(1)
    time[0] += 4
    assert contact.silence() == (4, "no answer")
    contact.asked(1)
    contact.answered(1)
    time[0] += 3
    assert contact.silence() == (3, "no answer"), "the first request is still on the way"
    assert contact.idle() == 0


async def test_requests_that_fail_again_and_again_add_up(contact: Contact, time: Time) -> None:
    for _ in range(50):
        contact.asked(1)
        contact.failed(1, FAILED)
        time[0] += 0.1
    seconds, error = contact.silence()
    assert (round(seconds, 3), error) == (5.0, "NodeNotReadyError")
    contact.asked(1)
    contact.answered(1)
    assert contact.silence() == (0.0, "")


async def test_one_of_several_brokers_that_is_silent_is_enough(contact: Contact, time: Time) -> None:
    contact.asked(1)
    time[0] += 5
    contact.asked(2)
    contact.answered(2)
    assert contact.silence()[0] == 5


async def test_a_broker_that_nobody_asks_any_more_is_forgotten(contact: Contact, time: Time) -> None:
    contact.asked(1)
    contact.failed(1, FAILED)
    time[0] += RECENT_SECONDS + 1
    assert contact.silence() == (0.0, "")
    contact.asked(1)
    time[0] += 1
    assert contact.silence()[0] == 1, "asked anew, it is not silent since then"


async def test_a_request_that_is_given_up_by_us_is_no_error_of_the_broker(contact: Contact, time: Time) -> None:
    contact.asked(1)
    contact.failed(1, asyncio.CancelledError())
    time[0] += 1
    assert contact.silence() == (0.0, "")

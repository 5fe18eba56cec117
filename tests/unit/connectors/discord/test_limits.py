"""Rate limits of the HTTP API."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.discord.limits import KNOWN, Limits, Route
from tests.unit.connectors.discord.test_frames import JSON

SEND = Route(form="POST /channels/messages", major="1")
ELSEWHERE = Route(form="POST /channels/messages", major="2")
HISTORY = Route(form="GET /channels/messages", major="1")
CALLBACK = Route(form="POST /interactions/callback", major="9", globally=False)


def headers(remaining: int, after: float, *, bucket: str = "abcd") -> dict[str, str]:
    return {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset-After": str(after),
        "X-RateLimit-Bucket": bucket,
    }


def test_what_is_not_known_is_not_limited() -> None:
    assert Limits().take(SEND, now=0.0) == 0


def test_a_bucket_that_is_empty_is_waited_for_until_it_is_full_again() -> None:
    limits = Limits()
    limits.learn(SEND, headers(2, 5.0), now=10.0)

    assert [limits.take(SEND, now=11.0) for _ in range(3)] == [0, 0, 4.0]
    assert limits.take(SEND, now=15.0) == 0


def test_channels_are_counted_apart_and_forms_of_one_bucket_together() -> None:
    limits = Limits()
    limits.learn(SEND, headers(0, 5.0), now=0.0)
    assert limits.take(ELSEWHERE, now=0.0) == 0

    limits.learn(HISTORY, headers(0, 5.0, bucket="abcd"), now=0.0)
    limits.learn(SEND, headers(4, 9.0), now=6.0)
    assert [limits.take(route, now=7.0) for route in (SEND, HISTORY, SEND, HISTORY, SEND)] == [0, 0, 0, 0, 8.0]


def test_answers_that_come_back_in_another_order_give_nothing_back() -> None:
    limits = Limits()
    limits.learn(SEND, headers(1, 5.0), now=0.0)
    limits.learn(SEND, headers(3, 5.0), now=0.05)
    assert [limits.take(SEND, now=1.0) for _ in range(2)] == [0, 4.0]


def test_a_refusal_of_a_bucket_holds_for_that_one_and_a_global_one_for_all_but_interactions() -> None:
    limits = Limits()
    assert limits.refused(SEND, {"Retry-After": "65"}, {"retry_after": 64.5, "global": False}, now=0.0) == 64.5
    assert (limits.take(SEND, now=0.0), limits.take(HISTORY, now=0.0)) == (64.5, 0)

    assert limits.refused(HISTORY, {"X-RateLimit-Global": "true"}, {"retry_after": 2.0, "global": True}, now=0.0) == 2.0
    assert limits.take(ELSEWHERE, now=0.5) == 1.5
    assert limits.take(CALLBACK, now=0.5) == 0
    assert limits.take(ELSEWHERE, now=2.0) == 0


@pytest.mark.parametrize(
    ("said", "body", "wait"),
    [
        ({"Retry-After": "3"}, None, 3.0),
        ({"Retry-After": "soon"}, None, 1.0),
        ({}, "<html>", 1.0),
        ({}, {"retry_after": True}, 1.0),
        ({}, {"retry_after": -4}, 0.001),
        ({}, {"retry_after": 1e300}, 86_400.0),
    ],
)
def test_a_refusal_without_a_good_time_is_waited_for_within_reason(
    said: dict[str, str], body: Any, wait: float
) -> None:
    assert Limits().refused(SEND, said, body, now=0.0) == wait


def test_buckets_of_long_ago_are_forgotten() -> None:
    limits = Limits()
    for number in range(KNOWN + 1):
        limits.learn(Route(form="POST /channels/messages", major=str(number)), headers(0, 50.0), now=0.0)
    waits = [limits.take(Route(form="POST /channels/messages", major=str(number)), now=0.0) for number in (0, 1, KNOWN)]
    assert waits == [0, 50.0, 50.0]


@given(st.dictionaries(st.sampled_from(list(headers(0, 0))), st.text(max_size=12)), JSON)
def test_whatever_the_headers_say_the_wait_is_a_time(said: dict[str, str], body: Any) -> None:
    limits = Limits()
    assert 0 < limits.refused(SEND, said, body, now=0.0) <= 86_400
    limits.learn(SEND, said, now=0.0)
    assert 0 <= limits.take(SEND, now=0.0) <= 86_400

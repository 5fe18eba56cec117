"""What bounds a request before it is understood."""

from collections.abc import Iterable
from typing import Any

import pytest

from app.gateway.errors import Problem
from app.gateway.limits import MOST_BODY_BYTES, MOST_REQUESTS, Body, InFlight, TokenBucket


class Sent:
    """The server's side of a body: hands over these chunks and counts how many were asked for."""

    def __init__(self, chunks: Iterable[bytes], *, broken: bool = False) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
        if broken:
            self.messages.append({"type": "http.disconnect"})
        elif self.messages:
            self.messages[-1]["more_body"] = False
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        return self.messages[self.asked - 1]


async def test_a_body_is_read_and_its_bytes_are_given_back() -> None:
    flight = InFlight()
    body = Body(Sent([b"ab", b"c", b""]), flight, 10)
    assert (await body.read(None), flight.body_bytes) == (b"abc", 3)
    body.close()
    assert flight.body_bytes == 0


async def test_an_announced_length_above_the_bound_is_refused_before_anything_is_read() -> None:
    sent = Sent([b"x" * 11])
    with pytest.raises(Problem) as refused:
        await Body(sent, InFlight(), 10).read(b"11")
    assert (refused.value.status, refused.value.headers, sent.asked) == (413, {}, 0)


async def test_a_body_of_unknown_length_is_counted_and_its_connection_closed() -> None:
    sent = Sent([b"x" * 6, b"x" * 6, b"x" * 6])
    with pytest.raises(Problem) as refused:
        await Body(sent, InFlight(), 10).read(None)
    assert (refused.value.status, refused.value.headers, sent.asked) == (413, {"Connection": "close"}, 2)


async def test_more_than_was_announced_is_refused_as_well() -> None:
    with pytest.raises(Problem) as refused:
        await Body(Sent([b"x" * 6, b"x" * 6]), InFlight(), 10).read(b"1")
    assert refused.value.status == 413


async def test_a_client_that_leaves_is_no_body() -> None:
    with pytest.raises(Problem) as refused:
        await Body(Sent([b"x"], broken=True), InFlight(), 10).read(None)
    assert (refused.value.status, refused.value.code) == (400, "body_incomplete")


async def test_the_bodies_of_all_requests_are_bounded() -> None:
    flight = InFlight(body_bytes=MOST_BODY_BYTES - 5)
    body = Body(Sent([b"x" * 6]), flight, 10)
    with pytest.raises(Problem) as refused:
        await body.read(b"6")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    body.close()
    assert flight.body_bytes == MOST_BODY_BYTES - 5


def test_the_requests_in_flight_are_bounded() -> None:
    flight = InFlight(requests=MOST_REQUESTS)
    with pytest.raises(Problem) as refused:
        flight.enter()
    assert (refused.value.status, refused.value.code) == (503, "gateway_busy")
    flight.leave()
    flight.enter()
    assert flight.requests == MOST_REQUESTS


def test_a_bucket_gives_a_second_of_burst_and_then_the_rate() -> None:
    now = [0.0]
    bucket = TokenBucket(10, lambda: now[0])
    assert [bucket.take(5), bucket.take(5), bucket.take(1)] == [0.0, 0.0, pytest.approx(0.1)]
    now[0] = 0.1
    assert [bucket.take(1), bucket.take(1)] == [0.0, pytest.approx(0.1)]


def test_a_list_above_the_burst_passes_once_the_bucket_is_full_and_leaves_a_debt() -> None:
    now = [0.0]
    bucket = TokenBucket(10, lambda: now[0])
    assert bucket.take(50) == 0.0
    assert bucket.take(1) == pytest.approx(4.1)
    now[0] = 4.1
    assert bucket.take(1) == 0.0

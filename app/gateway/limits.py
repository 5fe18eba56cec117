"""What bounds a request before anything of it is understood: size, rate, and how much is in flight at once."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from app.gateway.errors import Problem

MOST_REQUESTS: Final = 2_000
"""Requests in flight; one more is answered 503 at once."""
MOST_WAITING: Final = 1_000
"""Of these, calls that wait for results; one more is told at once where its result will be."""
MOST_BODY_BYTES: Final = 64 * 1024 * 1024
"""Bytes of bodies in flight."""


class TokenBucket:
    """At most `rate` events per second, with bursts of one second's worth.

    A list larger than a burst passes when the bucket is full, and leaves a debt that later requests wait for: it
    could never pass otherwise.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate, self._clock = rate, clock
        self._burst = max(rate, 1.0)
        self._tokens, self._at = self._burst, clock()

    def take(self, count: int) -> float:
        """Take `count` tokens and return 0, or take none and return the seconds until they are there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        missing = min(float(count), self._burst) - self._tokens
        if missing > 1e-9:
            return missing / self._rate
        self._tokens -= count
        return 0.0


@dataclass(slots=True)
class InFlight:
    """Requests being answered and the bytes of their bodies."""

    requests: int = 0
    body_bytes: int = 0
    waiting: int = 0

    def enter(self) -> None:
        if self.requests >= MOST_REQUESTS:
            raise _busy(f"{self.requests} requests are being answered already.")
        self.requests += 1

    def leave(self) -> None:
        self.requests -= 1

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Count a call that waits for its result."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def reserve(self, size_bytes: int) -> None:
        if self.body_bytes + size_bytes > MOST_BODY_BYTES:
            raise _busy(f"The bodies of {self.requests} requests fill the gateway's memory for them.")
        self.body_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        self.body_bytes -= size_bytes


class Body:
    """Reads one request's body within `most_bytes`. `size_bytes` is reserved in `flight` until `close`."""

    __slots__ = ("_flight", "_most", "_receive", "size_bytes")

    def __init__(self, receive: Any, flight: InFlight, most_bytes: int) -> None:
        self._receive, self._flight, self._most = receive, flight, most_bytes
        self.size_bytes = 0

    async def read(self, content_length: bytes | None) -> bytes:
        """Return the body. Raises Problem 413 before anything is read when its announced length is too large."""
        if content_length is not None and content_length.isdigit():
            self._grow(int(content_length), close=False)
        message = await self._receive()
        chunk: bytes = message.get("body", b"")
        if not message.get("more_body", False) and message["type"] == "http.request":
            self._grow(len(chunk) - self.size_bytes, close=True)
            return chunk
        parts, total = [chunk], len(chunk)
        while True:
            if message["type"] == "http.disconnect":
                raise Problem(
                    400, "body_incomplete", "The client left before the body was whole.", remedy="Send again."
                )
            if total > self.size_bytes:
                self._grow(total - self.size_bytes, close=True)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await self._receive()
            parts.append(message.get("body", b""))
            total += len(parts[-1])

    def close(self) -> None:
        self._flight.release(self.size_bytes)
        self.size_bytes = 0

    def _grow(self, more: int, *, close: bool) -> None:
        if more <= 0:
            return
        if self.size_bytes + more > self._most:
            # A body without an announced length may never end: only closing the connection stops it.
            raise too_large(self._most, headers={"Connection": "close"} if close else {})
        self._flight.reserve(more)
        self.size_bytes += more


def too_large(most_bytes: int, headers: dict[str, str] | None = None) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"The body is larger than {most_bytes} bytes.",
        remedy="Send the events in several requests, or raise gateway.max_body_bytes.",
        headers=headers,
    )


def rate_limited(seconds: float) -> Problem:
    """429; `seconds` is when the same request would pass."""
    return Problem(
        429,
        "rate_limited",
        "More events per second arrive than gateway.rate_limit_per_second allows; nothing of this request was taken.",
        remedy="Repeat the request after the seconds in Retry-After.",
        headers={"Retry-After": str(max(1, math.ceil(seconds)))},
    )


def _busy(message: str) -> Problem:
    return Problem(
        503,
        "gateway_busy",
        f"{message} Nothing of this request was taken.",
        remedy="Repeat the request after the seconds in Retry-After, or run more gateways.",
        headers={"Retry-After": "1"},
    )

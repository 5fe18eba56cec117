"""Rate limits of Discord's HTTP API: what the headers say, and when the next request may go. Pure; called by `rest`.

Discord names limits by buckets that several routes may share, and that count apart for each channel, guild or webhook
in the path (Discord: Rate Limits). What is known of a bucket comes from the answers alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

KNOWN: Final = 1_000
"""Buckets that are remembered, those used last."""
_LONGEST_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a limit is about: the form of a request, and the entity in its path that counts by itself."""

    form: str
    """Method and path without ids, such as `POST /channels/messages`."""
    major: str = ""
    globally: bool = True
    """Whether the bot's global limit counts it; it does not for interactions."""


@dataclass(slots=True)
class _Bucket:
    remaining: int
    reset_at: float


@dataclass(slots=True)
class Limits:
    """What is known. Times are seconds of the monotonic clock."""

    _names: dict[str, str] = field(default_factory=dict)
    """The bucket of each form of request, as far as Discord has named it."""
    _buckets: dict[tuple[str, str], _Bucket] = field(default_factory=dict)
    _global_until: float = -math.inf

    def take(self, route: Route, *, now: float) -> float:
        """Take one request of what is left and return 0, else return for how many seconds to wait."""
        if route.globally and now < self._global_until:
            return self._global_until - now
        bucket = self._buckets.get(self._key(route))
        if bucket is None or now >= bucket.reset_at:
            return 0.0  # the answer says anew what is left
        if bucket.remaining <= 0:
            return bucket.reset_at - now
        bucket.remaining -= 1
        return 0.0

    def learn(self, route: Route, headers: Mapping[str, str], *, now: float) -> None:
        """Learn from any answer."""
        name = headers.get("X-RateLimit-Bucket")
        if name and len(name) <= 200:
            self._names[route.form] = name
        remaining, after = (
            _number(headers.get("X-RateLimit-Remaining")),
            _number(headers.get("X-RateLimit-Reset-After")),
        )
        if remaining is not None and after is not None:
            self._set(route, int(remaining), now + after)

    def refused(self, route: Route, headers: Mapping[str, str], body: Any, *, now: float) -> float:
        """Learn from a 429 and return for how many seconds to wait."""
        body = body if isinstance(body, dict) else {}
        asked = body.get("retry_after")
        told = float(asked) if type(asked) in (int, float) else _number(headers.get("Retry-After"))
        wait = min(max(told if told is not None and math.isfinite(told) else 1.0, 0.001), _LONGEST_SECONDS)
        self.learn(route, headers, now=now)
        if body.get("global") is True or headers.get("X-RateLimit-Global", "").lower() == "true":
            self._global_until = max(self._global_until, now + wait)
        else:
            self._set(route, 0, now + wait)
        return wait

    def _set(self, route: Route, remaining: int, reset_at: float) -> None:
        key = self._key(route)
        known = self._buckets.pop(key, None)
        if known is not None and reset_at <= known.reset_at + 0.1:
            # Answers come back in any order: within one window less is left, never more.
            remaining, reset_at = min(remaining, known.remaining), known.reset_at
        self._buckets[key] = _Bucket(remaining=remaining, reset_at=reset_at)
        while len(self._buckets) > KNOWN:
            del self._buckets[next(iter(self._buckets))]

    def _key(self, route: Route) -> tuple[str, str]:
        return self._names.get(route.form, route.form), route.major


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) and 0 <= number <= _LONGEST_SECONDS else None

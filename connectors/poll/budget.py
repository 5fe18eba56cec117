"""How often one host may be asked with one set of credentials: by the options of its sources, and by what it says.

All sources of a process that ask the same host with the same credentials share a budget; other processes have their
own, so a server's word (Retry-After, RateLimit) is what binds them together.
"""

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from weakref import WeakValueDictionary

from connectors.base.contract import Site

MOST_WAIT_SECONDS: Final = 86_400.0
"""A server that wants to be left alone for longer is asked once a day all the same."""
MOST_REQUESTS: Final = 10_000
"""The most requests that a rate can allow at once."""
_EPOCH_SECONDS: Final = 1_000_000_000
"""A reset that is larger is an instant, not a number of seconds to wait."""
_FIELD: Final = re.compile(r"(?:^|[;,\s])(r|t|remaining|reset)\s*=\s*(\d{1,12})", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_PREFIXES: Final = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-")


class Budget:
    """The requests of a host and credentials. Sources hold it; it is gone when none does."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._begun: deque[float] = deque(maxlen=MOST_REQUESTS)
        self._blocked_until = 0.0

    async def turn(self, site: Site, *, requests: int | None = None, per_seconds: float = 60.0) -> None:
        """Wait until a request may be made, first come first served: of the last `requests`, one is older than that."""
        async with self._turn:
            while True:
                now = site.monotonic()
                wait = self._blocked_until - now
                if requests is not None and len(self._begun) >= requests:
                    wait = max(wait, self._begun[-requests] + per_seconds - now)
                if wait <= 0:
                    break
                await site.sleep(wait)
            self._begun.append(site.monotonic())

    def block(self, site: Site, seconds: float) -> None:
        """Make nobody's request for so long."""
        until = site.monotonic() + min(seconds, MOST_WAIT_SECONDS)
        self._blocked_until = max(self._blocked_until, until)


_shared: WeakValueDictionary[tuple[str, str], Budget] = WeakValueDictionary()
"""All budgets of this process: sources share nothing else that could hold them."""


def of(host: str, credentials: str) -> Budget:
    """Return the budget of a host and (a digest of) credentials; keep it as long as it counts."""
    found = _shared.get((host, credentials))
    if found is None:
        found = _shared[host, credentials] = Budget()
    return found


def wait_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return for how long a server wants no request, by its rate limit headers; None when it still takes some.

    `RateLimit` of the IETF's drafts in both forms, `RateLimit-*`, `X-RateLimit-*` and `X-Rate-Limit-*`; a reset is in
    seconds from now, or an instant.
    """
    waits = [_said(headers.get(f"{prefix}Remaining"), headers.get(f"{prefix}Reset"), now) for prefix in _PREFIXES]
    for policy in headers.get("RateLimit", "").split(","):
        fields = {name.lower(): number for name, number in _FIELD.findall(policy)}
        if "r" in fields:
            waits.append(_said(fields["r"], fields.get("t"), now))
    fields = {name.lower(): number for name, number in _FIELD.findall(headers.get("RateLimit", ""))}
    if "remaining" in fields:
        waits.append(_said(fields["remaining"], fields.get("reset"), now))
    return max((one for one in waits if one is not None), default=None)


def _said(remaining: str | None, reset: str | None, now: datetime) -> float | None:
    if remaining is None or reset is None:
        return None
    remaining, reset = remaining.strip(), reset.strip()
    if _NUMBER.fullmatch(remaining) is None or float(remaining) >= 1 or _NUMBER.fullmatch(reset) is None:
        return None
    number = float(reset)
    if number >= _EPOCH_SECONDS * 1000:
        number /= 1000
    wait = number - now.timestamp() if number >= _EPOCH_SECONDS else number
    return min(max(0.0, wait), MOST_WAIT_SECONDS)

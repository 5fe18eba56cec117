"""Whether brokers answer: what a worker's readiness says of Kafka, as its fetches and appends see it."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

RECENT_SECONDS: Final = 2.0
"""A broker that nobody has asked for so long is no longer counted: what it led is elsewhere, or given back."""


@dataclass(slots=True)
class _Broker:
    since: float
    """When it answered last, or was first asked without an answer since."""
    tried: float
    pending: int = 0
    error: str | None = None


@dataclass(slots=True)
class Contact:
    """Told of every request. Times are the loop's."""

    heard: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """When any broker answered last."""
    _brokers: dict[int, _Broker] = field(default_factory=dict)

    def asked(self, node: int) -> None:
        now = asyncio.get_running_loop().time()
        broker = self._brokers.get(node)
        if broker is None:
            broker = self._brokers[node] = _Broker(now, now)
        elif not broker.pending and (broker.error is None or now - broker.tried > RECENT_SECONDS):
            broker.since, broker.error = now, None
        broker.pending += 1
        broker.tried = now

    def answered(self, node: int) -> None:
        broker = self._brokers[node]
        broker.since = self.heard = asyncio.get_running_loop().time()
        broker.pending -= 1
        broker.error = None

    def failed(self, node: int, error: BaseException) -> None:
        """The request to `node` came to nothing: it failed, or nobody waits for it any more."""
        broker = self._brokers[node]
        broker.pending -= 1
        broker.tried = asyncio.get_running_loop().time()
        if not isinstance(error, asyncio.CancelledError):
            broker.error = type(error).__name__

    def idle(self) -> float:
        """For how many seconds no broker was asked anything."""
        if any(one.pending for one in self._brokers.values()):
            return 0.0
        now = asyncio.get_running_loop().time()
        return now - max([self.heard, *(one.tried for one in self._brokers.values())])

    def silence(self) -> tuple[float, str]:
        """For how many seconds a broker that is asked has not answered, and what became of the last request to it."""
        now = asyncio.get_running_loop().time()
        silent = [
            one for one in self._brokers.values() if one.pending or (one.error and now - one.tried < RECENT_SECONDS)
        ]
        longest = min(silent, key=lambda one: one.since, default=None)
        return (0.0, "") if longest is None else (now - longest.since, longest.error or "no answer")

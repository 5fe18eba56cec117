"""Logs of connectors: an event's name and fields, by the standard library's logging, which `app.observe` shapes."""

import logging
from collections import Counter
from typing import Any, Final

MOST_KINDS: Final = 1000
"""Different things of which it is known when they were told."""
_LOG: Final = logging.getLogger("headgate.connectors")


def warn(event: str, **fields: Any) -> None:
    """Log a warning."""
    _LOG.warning(event, extra={"fields": fields})


def info(event: str, **fields: Any) -> None:
    """Log something that an operator wants to know although nothing is wrong."""
    _LOG.info(event, extra={"fields": fields})


class Rarely:
    """Says when what happens again and again is to be logged: at once, then with what came meanwhile."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._told_at: dict[str, float] = {}
        self._count: Counter[str] = Counter()

    def count(self, what: str, now: float) -> int:
        """Count one more. Return how many there were since it was told last; 0 where it is too early to tell."""
        if len(self._told_at) > MOST_KINDS:
            self._told_at.clear()
            self._count.clear()
        self._count[what] += 1
        told_at = self._told_at.get(what)
        if told_at is not None and now - told_at < self._every_seconds:
            return 0
        self._told_at[what] = now
        return self._count.pop(what)

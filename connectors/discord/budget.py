"""How often a session may begin: Discord resets the token of a bot that identifies too often. Pure.

Discord counts all shards over 24 hours and says what is left (`session_start_limit` of GET /gateway/bot). Our own count
of this source is kept in its position, so that a restart forgets nothing even when Discord's answer is wrong or old. It
counts by the hour and takes each hour for its end, so it errs on the safe side.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

DAY_HOURS: Final = 24
DEFAULT_TOTAL: Final = 1000
"""Identifies that a bot may send within 24 hours, where Discord says nothing else."""
BETWEEN_SECONDS: Final = 5.5
"""Two shards of the same key begin at least 5 s apart (Discord: max_concurrency)."""
TURN_SECONDS: Final = 8.0
"""How long a turn is: its shard identifies at its start, so there are more than 5 s to the shard of the next turn."""
_SPREAD_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What Discord allows: the session_start_limit."""

    total: int = DEFAULT_TOTAL
    remaining: int = DEFAULT_TOTAL
    reset_after_seconds: float = 0.0
    max_concurrency: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Identifies that were sent, or are about to be: how many in which hour since 1970, and when the last one was."""

    hours: Mapping[int, int] = field(default_factory=dict)
    last: float | None = None
    """Seconds since 1970."""

    def counted(self, now: datetime) -> "Starts":
        """Return the starts with one more, now."""
        hour = _hour(now)
        kept = {one: count for one, count in self.hours.items() if one >= hour - DAY_HOURS}
        return Starts(hours={**kept, hour: kept.get(hour, 0) + 1}, last=now.timestamp())

    def of_a_day(self, now: datetime) -> int:
        return sum(count for hour, count in self.hours.items() if hour >= _hour(now) - DAY_HOURS)

    def as_json(self) -> dict[str, Any]:
        return {"hours": {str(hour): count for hour, count in self.hours.items()}, "last": self.last}

    @classmethod
    def read(cls, stored: Any) -> "Starts":
        """Read what `as_json` made; what is no such thing counts nothing."""
        stored = stored if isinstance(stored, dict) else {}
        hours = stored.get("hours") if isinstance(stored.get("hours"), dict) else {}
        read = {
            int(hour): count
            for hour, count in hours.items()
            if hour.isascii() and hour.isdigit() and len(hour) < 10 and type(count) is int and count > 0
        }
        last = stored.get("last")
        return cls(hours=read, last=last if type(last) in (int, float) else None)


def closed_for_seconds(starts: Starts, allowance: Allowance, *, shards: int, now: datetime) -> float:
    """Return for how long no session may begin, 0 when one may now.

    Of what is left one start is kept for each other shard, since all shards see the same number when they ask at once.
    """
    if allowance.remaining < shards:
        return max(1.0, allowance.reset_after_seconds)
    over = starts.of_a_day(now) - max(1, allowance.total) + 1
    for hour in sorted(hour for hour in starts.hours if hour >= _hour(now) - DAY_HOURS):
        if over <= 0:
            break
        over -= starts.hours[hour]
        if over <= 0:
            return max(1.0, (hour + DAY_HOURS + 1) * 3600 - now.timestamp())
    return 0.0


def turn_in_seconds(
    starts: Starts, allowance: Allowance, *, shard: tuple[int, int] | None, now: datetime, chance: float
) -> float:
    """Return in how many seconds this shard may identify.

    Shards are sources of their own, in processes that do not talk to each other: those that share a key (shard id
    modulo max_concurrency) take turns by the clock.
    """
    at = now.timestamp()
    since = None if starts.last is None else at - starts.last
    own = BETWEEN_SECONDS - since if since is not None and 0 <= since < BETWEEN_SECONDS else 0.0
    shard_id, count = shard or (0, 1)
    concurrency = max(1, allowance.max_concurrency)
    turns = -(-count // concurrency)
    if turns <= 1:
        return own
    lap = turns * TURN_SECONDS
    start = (at + own) // lap * lap + shard_id // concurrency * TURN_SECONDS + chance * _SPREAD_SECONDS
    while start < at + own:
        start += lap
    return start - at


def _hour(now: datetime) -> int:
    return int(now.timestamp() // 3600)

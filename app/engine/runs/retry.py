"""When a failed attempt is tried again: exponential back-off with full jitter.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog (2015). The jitter is derived from the run's id and
attempt, not drawn: the core knows no chance, and a replay waits as long as the first time.
"""

import zlib
from typing import Final

_SPREAD: Final = 1 << 32


def delay_ms(run_id: str, attempt: int, *, base_ms: int, max_ms: int) -> int:
    """Return the wait before the attempt after `attempt` (counted from 1), in milliseconds.

    A tenth of `base_ms` at least, so that no chance makes it none, and never more than `max_ms`.
    """
    ceiling = min(max_ms, base_ms * 2 ** min(attempt - 1, 30))
    share = zlib.crc32(f"{run_id}#{attempt}".encode()) / _SPREAD
    return min(max_ms, max(base_ms // 10, int(ceiling * share)))


def step_delay_ms(run_id: str, key: str, attempt: int, *, base_ms: int, max_ms: int) -> int:
    """Return the wait before the attempt of a step after `attempt` (counted from 1), in milliseconds."""
    return delay_ms(f"{run_id}:{key}", attempt, base_ms=base_ms, max_ms=max_ms)


def may_retry(attempt: int, *, max_retries: int) -> bool:
    """Whether the attempt that just failed (counted from 1) leaves another one."""
    return attempt <= max_retries

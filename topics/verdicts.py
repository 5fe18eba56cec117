"""The two verdicts that carry the whole error policy: reject, retry later. Anything else is a crash.

Raised by authors' code (which imports them from `headgate`) and by the parts that judge an event; read by the runtime.

HeadgateError
├── Reject         do not try again: the run fails at once, its events go to the dead letters
└── RetryLater     try again after the delay that it names
"""

from datetime import timedelta

MAX_DELAY_SECONDS = 10 * 366 * 24 * 3600
"""Ten years: the longest wait that Headgate keeps (design, section 6)."""


class HeadgateError(Exception):
    """The root of every error that Headgate raises or reads."""


class Reject(HeadgateError):
    """This input can never succeed: fail the run at once, without a retry, and keep its events as dead letters."""

    def __init__(
        self, reason: str = "rejected by the workflow", *, pointer: str | None = None, event_id: str | None = None
    ) -> None:
        """`pointer` is a JSON pointer to the part of the event that was refused; `event_id` names the event."""
        super().__init__(reason)
        self.reason = reason
        self.pointer = pointer
        self.event_id = event_id


class RetryLater(HeadgateError):
    """Not now: try the same input again after `delay` (seconds or a timedelta), whatever the back-off would say.

    Raises ValueError when the delay is negative, not finite or above ten years.
    """

    def __init__(self, delay: float | timedelta, reason: str = "asked for by the workflow") -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise TypeError(f"RetryLater takes seconds or a timedelta, not {delay!r}; for example RetryLater(30)")
        if not 0 <= seconds <= MAX_DELAY_SECONDS:
            raise ValueError(
                f"RetryLater({delay!r}) is not between 0 seconds and ten years; for example RetryLater(30)"
            )
        super().__init__(f"retry in {seconds:g} s: {reason}")
        self.delay_seconds = float(seconds)
        self.reason = reason

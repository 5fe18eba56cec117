"""How long to wait before the next connection: exponential with full jitter, begun anew after a link that was good.

Full jitter is a random time between nothing and min(cap, base * 2^n) (AWS, "Exponential Backoff And Jitter").
"""

from typing import Final

from connectors.base.options import Field, Options, Seconds

STEADY_SECONDS: Final = 60.0
"""A link that lived so long, or that delivered an event, was good."""
LONGEST_ASKED_SECONDS: Final = 86_400.0
"""Most that the other side gets when it asks for time: a wrong date would end a source for years."""
SPREAD: Final = 0.25
"""By which part a pause after a failure for good is longer at most."""
_MOST_DOUBLINGS: Final = 32


class Reconnect(Options):
    """When a source is connected again: `reconnect` of its spec."""

    base_seconds: Seconds = Field(
        default=1.0, ge=0.01, description="Longest first pause; it doubles with each attempt."
    )
    max_seconds: Seconds = Field(default=60.0, ge=0.1, description="Longest pause between two attempts.")
    failed_seconds: Seconds | None = Field(
        default=300.0,
        ge=0.1,
        description="Seconds after which a source that failed for good is tried again all the same, a quarter more at "
        "most by chance; none: never.",
    )
    max_attempts: int | None = Field(
        default=None, ge=1, description="Attempts in a row after which the source has failed; none: for ever."
    )


class Backoff:
    """Counts the attempts of one source and says how long to wait; `chance` is a number of [0, 1)."""

    def __init__(self, policy: Reconnect) -> None:
        self._policy = policy
        self.attempts = 0

    @property
    def exhausted(self) -> bool:
        """Whether there were as many attempts as are allowed."""
        return self._policy.max_attempts is not None and self.attempts >= self._policy.max_attempts

    def good(self) -> None:
        """The link lived long enough, or delivered: the next pause is short again."""
        self.attempts = 0

    def next(self, chance: float, *, retry_after_seconds: float | None = None, at_once: bool = False) -> float:
        """Count an attempt, return the seconds to wait before it: at least what is asked for, up to a day."""
        first = self.attempts == 0
        longest = min(self._policy.max_seconds, self._policy.base_seconds * 2.0 ** min(self.attempts, _MOST_DOUBLINGS))
        self.attempts += 1
        if retry_after_seconds is not None:
            # Who answers "at once" or "in a second" for hours is not asked each second all the same.
            return max(asked(retry_after_seconds) + chance * min(longest, 1.0), chance * longest)
        return 0.0 if at_once and first else chance * longest


def asked(seconds: float) -> float:
    """Return the time that the other side asks for, as far as it gets that."""
    return max(0.0, min(LONGEST_ASKED_SECONDS, seconds))


def spread(seconds: float, chance: float) -> float:
    """Return a long pause, longer by chance: what failed together is not tried again together, for ever in step."""
    return seconds * (1 + SPREAD * chance)

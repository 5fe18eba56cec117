"""What the steps of a run may use, and the errors of a use that no retry mends. Read by everything in this room."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from headgate.errors import HeadgateError
from topics.fields import MAX_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLimits:
    """What the steps of a run may use. `partitions`: of `events`, for the home of what is published."""

    partitions: int
    steps: int = 1_000
    event_bytes: int = 1024 * 1024
    result_bytes: int = 1024 * 1024
    run_bytes: int = 32 * 1024 * 1024
    """Of all that the steps of one run came to, and of events that it publishes without waiting."""
    retry_base_ms: int = 1_000
    retry_max_ms: int = 60_000
    """Those of the engine's limits, which decide: here they are for the log alone."""
    suspended: int = 10_000
    """Runs of a worker that are kept in memory though they only wait; those above are called again when they go on. It
    is fewer while much else waits in memory (`suspended_beside`).
    """
    suspended_bytes: int = 32 * 1024 * 1024
    """What the events of these may weigh, in bytes: those of the ones that waited longest are dropped first."""
    send_allowed: Callable[[str], bool] = lambda _topic: False
    """Which Kafka topics `ctx.step.send` may name: as the engine's `reply_allowed`."""
    source_states: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    """How all sources are, as their owners said last (topics.sources.Status); it may block."""
    source_topic: Callable[[str], str | None] = lambda _instance_id: None
    """The option `topic` of a source; None where it has none, or where it is not known. It may block."""


BESIDE_BYTES: Final = 184_000_000
"""So much may rest beside all of them: a million runs that sleep, each with its timer, take 175 MB."""
FUNCTION_BYTES: Final = 7_500
"""What rests above that leaves one function less for each so many bytes."""
FEWEST: Final = 2_000
"""So many stay however much rests."""


def suspended_long(limits: StepLimits) -> int:
    """Return how many functions are kept of those that wait for more than a minute, or for nobody knows how long."""
    return min(limits.suspended, max(FEWEST, limits.suspended // 5))


def suspended_beside(limits: StepLimits, resting_bytes: int) -> int:
    """Return how many functions that wait are kept in memory beside runs and waits that take so many bytes there.

    A worker may have 512 MB: a million runs that wait for events take 240 MB of it and leave 2,500 functions their
    place, a million that sleep leave 10,000 (docs/adr/0016).
    """
    over = max(0, resting_bytes - BESIDE_BYTES)
    return max(min(limits.suspended, FEWEST), limits.suspended - over // FUNCTION_BYTES)


class Misuse(HeadgateError):
    """A step was called in a way that no retry mends."""


class StepLimit(HeadgateError):
    """A run has more steps, or a larger one, than a limit allows. No retry mends that either."""


class NoSuchStep(Misuse, AttributeError):
    """A step that does not exist, or not yet."""


def checked_text(given: str, what: str) -> str:
    """Return `given`, which goes into the journal. Raises Misuse for one that no record can hold, or a long one."""
    if len(given) > MAX_KEY:
        raise Misuse(f"{what} has {len(given)} characters, {MAX_KEY} are allowed: {given[:40]!r}…; give a shorter one")
    try:
        if not given.isascii():
            given.encode()
    except UnicodeEncodeError:
        raise Misuse(
            f"{what} is {given!r}, which holds half a surrogate pair, as a name of a file may; give Unicode, for "
            "example name.encode(errors='backslashreplace').decode()"
        ) from None
    return given


def too_many_steps(run: str, most: int) -> StepLimit:
    return StepLimit(
        f"run {run!r} has more than {most} steps (limits.steps_per_run); publish an event and go on in another workflow"
    )


def inside_another(key: str, place: str, outer: str) -> Misuse:
    return Misuse(
        f"step {key!r} was called at {place} inside the function of step {outer!r}; a step's function has no steps of "
        "its own: call them one after the other in the workflow"
    )


def checked_key(given: object, place: str) -> str:
    """Return `given`, the key of a step that was called at `place`. Raises Misuse for one that is none."""
    if not given or type(given) is not str:
        raise Misuse(f"the key of a step at {place} is {given!r:.200}; give each step of a run a text of its own")
    return checked_text(given, f"the key of the step at {place}")


def optional_text(given: object, what: str) -> str | None:
    """Return `given` if it is a text that a step may have, or None. Raises Misuse."""
    if given is None:
        return None
    if isinstance(given, str) and given != "":
        return checked_text(given, what)
    raise Misuse(f"{what} is {given!r:.200}; give a text, or leave it out")

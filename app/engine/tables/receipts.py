"""What the waits of a run have received, by their scope: from when on the next one looks, and what it never gets again.

A scope is what waits ask for: topic (or pattern), key, type, and whether they may pass events by, because they have a
filter or say since when. Called by `conditions`.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson

from app.engine.tables.recorded import Heard, Steps
from app.engine.values.asks import EventCondition

MOST_HAD: Final = 32
"""The last events that a run has received: none of its waits gets one of them again."""
MOST_SCOPES: Final = 256
"""Scopes of a run that are remembered, those that received something last; some 70 bytes each in its record."""
LATE_MS: Final = 10_000
"""So much later than others a partition may tell of an event, as one does that nobody owned for a while: a wait goes on
from so long before the event that was received last."""
_ALSO: Final = "\x1f"
"""Stands in a scope between its topic, which holds none, and a digest of what else is asked for."""
_ALL: Final = (None, None, False)


def past(steps: Steps | None, condition: EventCondition, start_ms: int) -> tuple[int, list[str]]:
    """Return from which time on events count after what the run has received, and the digests of those that do not.

    `start_ms` is when the run began. A wait that takes all that this one does, and could pass nothing by, has received
    the first there was: what is long before that need not be looked at again. Where the author says since when, or an
    earlier wait passed events by, it is looked at; but not so far back that one might come twice.
    """
    since_ms = start_ms if condition.since_ms is None else condition.since_ms
    if steps is None or steps.received is None:
        return since_ms, []
    seen = list(steps.had)
    for scope, passing in _covering(condition):
        heard = steps.received.get(scope)
        if heard is None:
            continue
        # Of what was received at the last moment all is known, of what was forgotten nothing.
        since_ms = max(since_ms, min(heard.last_ms, heard.forgotten_ms + 1))
        if not passing and condition.since_ms is None:
            since_ms = max(since_ms, heard.last_ms - LATE_MS)
        seen.extend(heard.same)
    return since_ms, seen


def remember(steps: Steps, condition: EventCondition, digest: str, at_ms: int) -> None:
    """Let no later wait of the run get this event again."""
    received = steps.received = {} if steps.received is None else steps.received
    scope = _scope(condition.topic, condition.event_key, condition.event_type, _passes(condition))
    last_ms, same, forgotten_ms = received.pop(scope, Heard(-1, []))
    if at_ms > last_ms:
        last_ms, same = at_ms, [digest]
    elif at_ms == last_ms and digest not in same:
        same = [*same, digest]
    received[scope] = Heard(last_ms, same, forgotten_ms)
    if len(received) > MOST_SCOPES:
        del received[next(iter(received))]
    if digest in steps.had:
        return
    steps.had.append(digest)
    steps.had_ms.append(at_ms)
    steps.had_by.append(scope)
    if len(steps.had) > MOST_HAD:
        del steps.had[0]
        first_ms, by = steps.had_ms.pop(0), steps.had_by.pop(0)
        for one in (by,) if by else tuple(received):  # an older release did not say by what
            if (heard := received.get(one)) is not None:
                received[one] = heard._replace(forgotten_ms=max(heard.forgotten_ms, first_ms))


def has(steps: Steps, digest: str) -> bool:
    """Whether a wait of the run has received the event."""
    return digest in steps.had or any(digest in one.same for one in (steps.received or {}).values())


def written(steps: Steps) -> dict[str, Any]:
    """Return what the run's record has of it: older releases read the first two."""
    if steps.received is None:
        return {}
    scopes = list(steps.received)
    found: dict[str, Any] = {
        "received": {scope: (one.last_ms, one.same) for scope, one in steps.received.items()},
        "had": steps.had,
        "had_at": steps.had_ms,
        "had_by": [scopes.index(one) if one in steps.received else -1 for one in steps.had_by],
    }
    if any(one.forgotten_ms >= 0 for one in steps.received.values()):
        found["forgotten"] = [one.forgotten_ms for one in steps.received.values()]
    return found


def take_back(steps: Steps, found: Mapping[str, Any]) -> None:
    """Take back what was `written`."""
    received: Mapping[str, Any] = found.get("received", {})
    if not received:
        return
    had: list[str] = list(found.get("had", ()))
    had_ms: Sequence[int] = found.get("had_at", ())
    if "had_by" not in found:  # of an older release, which had no times, and forgot what was more
        full = not had or len(had) >= MOST_HAD
        steps.received = {
            scope: Heard(at_ms, list(same), at_ms if full else -1) for scope, (at_ms, same) in received.items()
        }
        last_ms = max(one.last_ms for one in steps.received.values())
        steps.had, steps.had_ms, steps.had_by = had, [last_ms] * len(had), [""] * len(had)
        return
    forgotten = found.get("forgotten", [-1] * len(received))
    steps.received = {
        scope: Heard(at_ms, list(same), forgotten[n]) for n, (scope, (at_ms, same)) in enumerate(received.items())
    }
    scopes = list(received)
    steps.had, steps.had_ms = had, list(had_ms)
    steps.had_by = [scopes[one] if one >= 0 else "" for one in found["had_by"]]


def _passes(condition: EventCondition) -> bool:
    """Whether a wait may receive another event than the first that there is of what it asks for."""
    return condition.stream or condition.since_ms is not None


def _covering(condition: EventCondition) -> Iterator[tuple[str, bool]]:
    """Yield the scopes that take all that a condition does, and whether they may pass events by."""
    for passing in (False, True) if _passes(condition) else (False,):
        for key in {None, condition.event_key}:
            for type_ in {None, condition.event_type}:
                yield _scope(condition.topic, key, type_, passing), passing


def _scope(topic: str, key: str | None, type_: str | None, passing: bool) -> str:  # noqa: FBT001 a name's part
    about = (key, type_, passing)
    return topic if about == _ALL else f"{topic}{_ALSO}{blake2b(orjson.dumps(about), digest_size=8).hexdigest()}"

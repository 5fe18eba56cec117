"""Waits: none misses an event that came in time, none gets one that it did not ask for, and the first one wins."""

from dataclasses import dataclass
from typing import Final

from app.engine.tables.receipts import LATE_MS
from tests.simulation.model.logs import Identity, Logs
from tests.simulation.model.steps import was_refused
from tests.simulation.plans import LAST_OWN, On, Op, judged
from tests.simulation.violation import Violation
from tests.simulation.watch import Journaled, place_of
from tests.simulation.worker import EPOCH_MS
from topics import reserved
from topics.envelope import Envelope
from topics.patterns import Pattern

_FOREVER: Final = 1 << 62
_NARROWER: Final = {
    "signals/*": ("signals/a", "signals/b"),
    "signals/**": ("signals/a", "signals/b", "signals/*"),
    "bells/*": ("bells/a",),
}
"""What the patterns that programs wait for take besides themselves."""


@dataclass(slots=True)
class _Wait:
    """One condition of a step."""

    run: str
    key: str
    on: On
    since_ms: int
    """Events that came since then must be seen; none from before `least_ms` may be."""
    least_ms: int
    deadline_ms: int
    own: set[bytes]
    """Events that started its run."""
    received: set[bytes]
    """Those that other steps of the run received, at any time: each is received once."""
    perhaps: set[bytes]
    """Those, and what another step may have held until it gave up, because it waited for more."""
    journaled_ms: int | None = None
    """Since when it waits, as the journal says."""

    def __str__(self) -> str:
        return f"step {self.key} of {self.run} ({self.on}, since {self.since_ms}, until {self.deadline_ms})"

    def takes(self, event: Envelope) -> bool:
        return _takes(self.on, event)

    def needs(self, digest: bytes, identity: Identity) -> bool:
        """Whether it must see an event: all that says it is in time, matches, and passes the filter."""
        if digest in self.own or digest in self.perhaps or not self.takes(identity.event):
            return False
        if not all(self.since_ms <= one.timestamp_ms < self.deadline_ms for one in identity.copies):
            return False
        return judged(self.on, identity.event.data) == "yes"


def _takes(on: On, event: Envelope) -> bool:
    if on.key is not None and event.key != on.key:
        return False
    if on.type is not None and event.event_type != on.type:
        return False
    return Pattern.parse(on.topic).matches(event.topic)


def no_wait_misses_its_event(logs: Logs) -> None:
    steps = logs.sim.seen.steps.steps
    for (run, key), step in steps.items():
        op = logs.op(run, key)
        if not op.waits or (step.outcome is None and run not in logs.waiting):
            continue
        waits = [_wait(logs, run, key, step, n, one) for n, one in enumerate(_conditions(run, op))]
        if step.outcome is None:
            _nothing_came(logs, op, waits)
        elif step.outcome["s"] == "failed":
            _failed_for_a_reason(logs, op, step, waits)
        else:
            _got_what_it_asked_for(logs, op, step, waits)


def _conditions(run: str, op: Op) -> tuple[On, ...]:
    return (On(topic=reserved.resume_topic(run, op.key)),) if op.kind == "suspend" else op.on


def _wait(logs: Logs, run: str, key: str, step: Journaled, n: int, on: On) -> _Wait:
    events = logs.events_of(run)
    own = {logs.by_place[one.partition, one.offset] for one in events}
    before, by = _received(logs, run, step.before), _received(logs, run, step.by)
    record = step.asked or step.outcome
    assert record is not None
    least_ms, since_ms = _since(logs, run, on, events)
    if on.since == "now":
        least_ms, since_ms = _asked_ms(logs, run, key), record["at"]
    if (
        on.since == "run_start"
    ):  # what a wait that takes all that this one does received first need not be looked at again
        since_ms = max([since_ms, *(event.timestamp_ms - LATE_MS for other, event in by if _covers(other, on))])
        least_ms = max([least_ms, *(event.timestamp_ms - LATE_MS for other, event in before if _covers(other, on))])
    deadline_ms = None if step.asked is None else step.asked["ask"].get("deadline")
    others = tuple(other for of, other in logs.sim.seen.steps.steps if of == run and other != key)
    received = {logs.by_place[event.partition, event.offset] for _, event in _received(logs, run, others)}
    wait = _Wait(
        run=run,
        key=key,
        on=on,
        since_ms=since_ms,
        least_ms=least_ms,
        deadline_ms=_FOREVER if deadline_ms is None else deadline_ms,
        own=own,
        received=received,
        perhaps=received | _held(logs, run, others),
    )
    if step.asked is not None and "wait" in step.asked:
        journaled_ms = step.asked["wait"][n]["since"]
        if not least_ms <= journaled_ms <= since_ms:
            raise Violation(f"{wait} waits since {journaled_ms}, not {least_ms}..{since_ms}")
        wait.journaled_ms = journaled_ms
    return wait


def _covers(broad: On, narrow: On) -> bool:
    alike = broad.topic == narrow.topic and not broad.judge and broad.since == "run_start"
    return alike and broad.key in (None, narrow.key) and broad.type in (None, narrow.type)


def _since(logs: Logs, run: str, on: On, events: list[Envelope]) -> tuple[int, int]:
    """Return from when on a condition may see events, and from when on it must: as whichever copy says it."""
    if isinstance(on.since, int):
        return EPOCH_MS + on.since, EPOCH_MS + on.since
    if (run, on.since) in logs.sim.seen.steps.steps and (got := _received(logs, run, (on.since,))):
        return got[-1][1].timestamp_ms, got[-1][1].timestamp_ms
    event = events[-1] if on.since == LAST_OWN else events[0]
    times = [one.timestamp_ms for one in logs.identities[logs.by_place[event.partition, event.offset]].copies]
    return min(times), max(times)


def _held(logs: Logs, run: str, keys: tuple[str, ...]) -> set[bytes]:
    """Return the events that steps which wait for all of several may have held without receiving them in the end."""
    held: set[bytes] = set()
    for key in keys:
        op, outcome = logs.op(run, key), logs.sim.seen.steps.steps[run, key].outcome
        if op.kind == "all" and (outcome is None or outcome["s"] != "done"):
            held |= {digest for digest, one in logs.identities.items() if any(_takes(on, one.event) for on in op.on)}
    return held


def _asked_ms(logs: Logs, run: str, key: str) -> int:
    """Return when its function first asked for a step."""
    return EPOCH_MS + int(logs.sim.seen.steps.asked[run, key][0] * 1000)


def _received(logs: Logs, run: str, keys: tuple[str, ...]) -> list[tuple[On, Envelope]]:
    """Return the events that steps of a run received, each with the condition that it met."""
    found: list[tuple[On, Envelope]] = []
    for key in keys:
        op, outcome = logs.op(run, key), logs.sim.seen.steps.steps[run, key].outcome
        if not op.on or outcome is None or outcome["s"] != "done":
            continue
        for n, place in enumerate(places_of(op, outcome)):
            if place is not None:
                found.append((op.on[n], logs.at(place)))
    return found


def places_of(op: Op, outcome: dict[str, object]) -> list[tuple[int, int] | None]:
    """Return where the events of a step's conditions are, None for those that were not met by one."""
    value = outcome["v"]
    raw: list[object] = [None] * (len(op.on) + (op.after is not None))
    if isinstance(value, list):
        raw = list(value)
    elif isinstance(value, dict):
        raw[value["n"]] = value["event"]
    found: list[tuple[int, int] | None] = []
    for one in raw:
        place = place_of(one)  # type: ignore[arg-type]
        partition, _, offset = (place or "-").partition("-")
        found.append(None if place is None else (int(partition), int(offset)))
    return found


def _nothing_came(logs: Logs, op: Op, waits: list[_Wait]) -> None:
    """It waits still: nothing came for one of its conditions."""
    missed = [_missed(logs, one) for one in waits]
    if op.kind == "all":
        if _one_for_each(waits, missed):
            raise Violation(f"MISSED: {waits[0]} waits still, though {missed} came")
    elif any(missed):
        raise Violation(f"MISSED: {waits[0]} waits still, though {missed} came")


def _failed_for_a_reason(logs: Logs, op: Op, step: Journaled, waits: list[_Wait]) -> None:
    assert step.outcome is not None
    if was_refused(step):
        return
    error = step.outcome["e"]["type"]
    if error == "LookupError":
        fits = [
            one
            for wait in waits
            for identity in logs.identities.values()
            for one in identity.copies
            if wait.takes(one) and judged(wait.on, one.data) == "raises" and wait.least_ms <= one.timestamp_ms
        ]
        if not fits:
            raise Violation(f"{waits[0]} failed with {step.outcome}, which no event explains")
        return
    if error != "EventTimeout" or op.timeout is None:
        raise Violation(f"{waits[0]} failed with {step.outcome}")
    times_out = op.after is not None and op.after > op.timeout  # then it may be seen before that all cannot be met
    # One whose time was over when its partition heard of it was never journaled as open.
    until_ms = (
        _asked_ms(logs, waits[0].run, waits[0].key) + op.timeout * 1000 if step.asked is None else waits[0].deadline_ms
    )
    early = step.at_ms < int(until_ms)
    if early and not (op.kind == "all" and times_out):
        raise Violation(f"EARLY: {waits[0]} gave up at {step.at_ms}")
    missed = [_missed(logs, one) for one in waits]
    if op.kind == "all":
        if _one_for_each(waits, missed) and not times_out:
            raise Violation(f"MISSED: {waits[0]} gave up, though {missed} came in time")
        return
    if any(missed):
        raise Violation(f"MISSED: {waits[0]} gave up, though {missed} came in time")
    if op.after is not None and not times_out:
        raise Violation(f"{waits[0]} gave up, though its time of {op.after} s was over before")


def _one_for_each(waits: list[_Wait], missed: list[list[str]]) -> bool:
    """Whether each condition must have got an event.

    Either it had one that no other could take from it; or there is one for each, and of any two conditions one takes
    all of the other, which then gives up what that needs, or nothing of it. Else conditions take events as they come.
    """
    if all(
        len(mine) >= len(missed)
        or any(all(one not in others for m, others in enumerate(missed) if m != n) for one in mine)
        for n, mine in enumerate(missed)
    ):
        return True
    pairs = [(waits[n], waits[m]) for n in range(len(waits)) for m in range(n)]
    return all(_nested(a, b) or _nested(b, a) or _apart(a.on, b.on) for a, b in pairs) and _matching(missed)


def _nested(broad: _Wait, narrow: _Wait) -> bool:
    one, other = broad.on, narrow.on
    if one.judge or one.key not in (None, other.key) or one.type not in (None, other.type):
        return False
    if broad.journaled_ms is None or narrow.journaled_ms is None or broad.journaled_ms > narrow.journaled_ms:
        return False
    return one.topic == other.topic or other.topic in _NARROWER.get(one.topic, ())


def _apart(one: On, other: On) -> bool:
    if None not in (one.key, other.key) and one.key != other.key:
        return True
    if None not in (one.type, other.type) and one.type != other.type:
        return True
    literal = [on.topic for on in (one, other) if "*" not in on.topic]
    if len(literal) == 2:
        return one.topic != other.topic
    patterns = [Pattern.parse(on.topic) for on in (one, other) if "*" in on.topic]
    return len(literal) == 1 and not patterns[0].matches(literal[0])


def _matching(missed: list[list[str]]) -> bool:
    """Whether each can have one of its own."""
    taken: dict[str, int] = {}

    def find(n: int, looked_at: set[str]) -> bool:
        for one in missed[n]:
            if one in looked_at:
                continue
            looked_at.add(one)
            if one not in taken or find(taken[one], looked_at):
                taken[one] = n
                return True
        return False

    return all(find(n, set()) for n in range(len(missed)))


def _missed(logs: Logs, wait: _Wait) -> list[str]:
    return [
        f"{one.event.id} at {[(copy.partition, copy.offset, copy.timestamp_ms) for copy in one.copies]}"
        for digest, one in logs.identities.items()
        if wait.needs(digest, one)
    ]


def _got_what_it_asked_for(logs: Logs, op: Op, step: Journaled, waits: list[_Wait]) -> None:
    assert step.outcome is not None
    if op.kind == "suspend":
        given = [one.event.data for one in logs.identities.values() if waits[0].takes(one.event)]
        if step.outcome["v"] not in given:
            raise Violation(f"{waits[0]} was resumed with {step.outcome['v']}, not with any of {given}")
        return
    places = places_of(op, step.outcome)
    if op.kind == "all" and any(one is None for one in places[: len(op.on)]):
        raise Violation(f"{waits[0]} came to {step.outcome}, without all of its events")
    if op.after is not None and (op.kind == "all" or places[: len(op.on)] == [None] * len(op.on)):
        until_ms = _asked_ms(logs, waits[0].run, waits[0].key) + int(op.after * 1000)
        if step.asked is not None:
            until_ms = step.asked["ask"]["conditions"][len(op.on)]["until"]
        if step.at_ms < until_ms:
            raise Violation(f"EARLY: {waits[0]} ended at {step.at_ms}, its time was over at {until_ms}")
    met = [one for one in places if one is not None]
    if len(set(met)) < len(met):
        raise Violation(f"TWICE: {waits[0]} got the same event twice: {met}")
    here = {logs.by_place[one] for one in met if one in logs.by_place}
    for wait, place in zip(waits, places, strict=False):
        wait.perhaps |= here  # of each event there is one for all conditions
        if place is None:
            continue
        if place not in logs.by_place:
            raise Violation(f"{wait} got an event at {place}, where none is")
        event, digest = logs.at(place), logs.by_place[place]
        about = f"{wait} got {event.id} at {place} ({event.timestamp_ms})"
        if not wait.takes(event) or judged(wait.on, event.data) != "yes":
            raise Violation(f"WRONG: {about}, which does not match")
        if not wait.least_ms <= event.timestamp_ms <= wait.deadline_ms:
            raise Violation(f"WRONG: {about}, which did not come in time")
        if digest in wait.own or digest in wait.received:
            raise Violation(f"TWICE: {about}, which the run had already")
        _nothing_stood_before(logs, wait, digest, about)


def _nothing_stood_before(logs: Logs, wait: _Wait, digest: bytes, about: str) -> None:
    """Of events that were produced once, to the same partition, which is their home, the first wins."""
    won = logs.identities[digest]
    if len(won.copies) > 1 or won.event.partition != won.home:
        return
    for other, identity in logs.identities.items():
        event = identity.event
        if len(identity.copies) > 1 or identity.home != won.home or event.partition != won.home:
            continue
        if event.offset < won.event.offset and wait.needs(other, identity):
            raise Violation(f"NOT THE FIRST: {about}, though {event.id} stands at {event.offset}")

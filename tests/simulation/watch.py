"""What happens at the steps of runs: as the journal has it, and as the authors' functions see it, side by side.

What the journal says counts from the batch on with which a round is committed. And as people do, somebody answers:
functions that wait get their events sometimes before, sometimes at, sometimes after the end of their time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import orjson

from app.kafka.log import Entry
from app.runtime.values import time_of
from tests.simulation.crowd import Crowd
from tests.simulation.plans import On, Op
from topics import journal, keys, reserved

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

STEP: Final = b"step:"
RUN: Final = b"run:"
_LITERAL: Final = {
    "signals/*": ("signals/a", "signals/b"),
    "signals/**": ("signals/a/x", "signals/b"),
    "bells/*": ("bells/a", "bells/b"),
}
"""Topics that meet a pattern."""
UNJOURNALED: Final = ("publish", "uuid", "random")
"""Steps whose value is derived: their function goes on with it at once."""


@dataclass(slots=True)
class Journaled:
    """A step as the journal had it."""

    asked: dict[str, Any] | None = None
    """Its first record, if it was journaled while it was open."""
    outcome: dict[str, Any] | None = None
    at_ms: int = 0
    """When its outcome was journaled."""
    before: tuple[str, ...] = ()
    """The steps of its run that had come to something in earlier rounds than the first that tells of it."""
    by: tuple[str, ...] = ()
    """These, and those of the same round."""


@dataclass(slots=True)
class Watched:
    """All that was seen of steps; it is part of a seed's story."""

    steps: dict[tuple[str, str], Journaled] = field(default_factory=dict)
    """By run and key."""
    values: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What the functions got."""
    asked: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """When they asked."""
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    order: dict[str, list[str]] = field(default_factory=dict)
    """By run, the keys of its steps in the order of their outcomes."""


class Watch:
    """Fulfils `durable.Watch` for a scenario."""

    def __init__(self, sim: "Scenario", random: Random) -> None:
        self._sim = sim
        self._random = random
        self._ahead: dict[int, list[tuple[bytes, bytes | None]]] = {}
        self._before: dict[str, tuple[str, ...]] = {}
        self._fresh: list[tuple[str, str]] = []
        self._slept: dict[str, set[tuple[str, str]]] = {}
        """By run, the sleeps whose functions went on before their end was journaled."""
        self._count = 0
        self.eager = random.choice((0.2, 0.6, 0.9))
        """How often somebody answers."""
        self.coming = 0
        """Answers that are on their way."""
        self.seen = Watched()
        self.journaled: set[str] = set()
        """Runs of which a committed round told."""
        self.began_ms: dict[str, int] = {}
        """When it did so first."""
        self.ended: dict[str, int] = {}
        """Runs that are over, durably, and their partitions."""
        self.crowd = Crowd(sim)
        self.ended_before: frozenset[str] = frozenset()
        """Runs that were over before the round that is looked at."""
        self.fates: dict[str, str] = {}
        """As what runs are to end once they are read back."""

    # --- the journal ------------------------------------------------------------------------------------------------

    def claimed(self, number: int) -> None:
        """A partition has another owner: what the one before it wrote ahead counts for nothing."""
        self._ahead.pop(number, None)

    def appended(self, number: int, entries: Sequence[Entry]) -> None:
        """The owner of a partition wrote a batch to its journal."""
        ahead = self._ahead.setdefault(number, [])
        head: bytes | None = None
        for key, value, _ in entries:
            if key is None:
                continue
            if key.startswith((STEP, RUN)):
                ahead.append((key, value))
            elif key == journal.HEAD:
                head = value
        if head is None:
            return
        del self._ahead[number]
        self.ended_before = frozenset(self.ended)
        told = [(_run_of(key), value) for key, value in ahead if key.startswith(STEP) and value is not None]
        for run, value in told:
            if run in self.fates:
                self._sim.broken(f"{run} was to end as {self.fates[run]}, and has gone on: {value!r}")
        for key, value in ahead:
            if key.startswith(RUN):
                self._run(number, key[len(RUN) :].decode(), value)
        self._fresh.clear()
        self._before = {run: tuple(self.seen.order.get(run, ())) for run, _ in told}
        for run, value in told:
            if run.partition(":")[0] in self._sim.plans:  # else it is of an event that an ordinary workflow published
                self._step(number, run, orjson.loads(value))
        for run, step in self._fresh:
            self.seen.steps[run, step].by = tuple(self.seen.order.get(run, ()))
        self.crowd.round_is_over(number)

    def results(self, number: int, entries: Sequence[Entry]) -> None:
        """The owner of a partition wrote results."""
        for key, value, _ in entries:
            if key is None or value is None:
                continue
            run = key.decode()
            self.ended[run] = number
            if run in self.fates and orjson.loads(value)["status"] != self.fates[run]:
                self._sim.broken(f"{run} was to end as {self.fates[run]}: {value!r}")

    def _run(self, number: int, run: str, value: bytes | None) -> None:
        if value is None:
            self.crowd.run_is_gone(number, run)
            if run in self.journaled:  # else it is of a round that was written in part
                self.ended[run] = number
            return
        self.journaled.add(run)
        self.crowd.run_is_there(number, run)
        self.began_ms.setdefault(run, self._sim.now_ms())
        if run in self.ended and not self._sim.tight_dedup:
            self._sim.broken(f"{run} was over, and the journal says now {value!r}")
        if b'"fate":' in value and "fate" in (record := orjson.loads(value)):
            self.fates.setdefault(run, record["fate"][0])

    def _step(self, number: int, run: str, record: dict[str, Any]) -> None:
        name = (run, record["k"])
        self.crowd.step(number, name, self._op(*name), record)
        known = self.seen.steps.get(name)
        if known is None:
            known = self.seen.steps[name] = Journaled(before=self._before.get(run, ()))
            self._fresh.append(name)
        over = record["s"] != "open"
        if known.outcome is not None:
            if not over or _came_to(record) != _came_to(known.outcome):
                self._sim.broken(f"step {name} had ended with {known.outcome}, and the journal says now {record}")
        elif over:
            known.outcome, known.at_ms = record, self._sim.now_ms()
            self.seen.order.setdefault(run, []).append(record["k"])
        elif known.asked is None:
            known.asked = record
        elif known.asked["ask"] != record["ask"] or record["a"] < known.asked["a"]:
            self._sim.broken(f"step {name} was {known.asked}, and the journal says now {record}")

    # --- the functions ----------------------------------------------------------------------------------------------

    def _goes_on(self, run: str, what: str) -> None:
        """Nothing goes on of a run that is over, where that is known."""
        threaded = self._sim.is_plain[run.partition(":")[0]]  # which hears of its end at its next step
        if run in self.ended and not threaded and self._sim.journals.is_owner(self.ended[run]):
            self._sim.broken(f"{run} is over, and its function {what}")

    def seconds(self) -> float:
        """Return the time."""
        return self._sim.loop.time()

    def recorded(self, run: str) -> tuple[str, str] | None:
        """Return key and kind of a step that the journal has of a run."""
        for key in self.seen.order.get(run, ()):
            kind = self._op(run, key).kind
            if kind not in UNJOURNALED:
                return key, kind
        return None

    def begins(self, run: str, key: str) -> int:
        """A step's function is called. Return how many calls of it there were, this one counted."""
        self._goes_on(run, f"has begun step {key}")
        name = (run, key)
        known = self.seen.steps.get(name)
        kind = self._op(run, key).kind
        if kind == "run":
            if run not in self.journaled:
                self._sim.broken(f"the function of step {name} began before its run was journaled")
            for one in self._slept.get(run, ()):
                if self.seen.steps[one].outcome is None:
                    self._sim.broken(f"the function of step {name} began before the end of {one} was journaled")
            if known is not None and known.outcome is not None and self._sim.journals.owns(run):
                self._sim.broken(f"the function of step {name} began again, after {known.outcome} was journaled")
        self.seen.calls[name] += 1
        return self.seen.calls[name]

    def judges(self, run: str, key: str) -> None:
        """A filter is asked."""
        if run not in self.journaled:
            self._sim.broken(f"a filter of step {(run, key)} was asked before its run was journaled")

    def comes_to(self, run: str, key: str, value: Any) -> None:
        """A function got the value of a step: the same in every attempt and replay, and journaled before."""
        self._goes_on(run, f"got {value} of step {key}")
        name = (run, key)
        op = self._op(run, key)
        before = self.seen.values.setdefault(name, value)
        if before != value:
            self._sim.broken(f"step {name} came to {before} first, and to {value} when it was replayed")
        if op.kind in UNJOURNALED:
            return
        known = self.seen.steps.get(name)
        if op.kind in ("sleep", "until") and known is not None and known.outcome is None:
            if known.asked is None or known.asked["ask"]["until"] > self._sim.now_ms():
                self._sim.broken(f"the function went on from its sleep {name} before its time, which is journaled")
            self._slept.setdefault(run, set()).add(name)  # any owner comes to the same
        elif known is None or known.outcome is None:
            self._sim.broken(f"the function went on with {value} of step {name} before that was journaled")
        elif (meant := _meaning(op, known.outcome)) != value:
            self._sim.broken(f"step {name} came to {value}, the journal says {meant}")

    def asks(self, run: str, op: Op) -> None:
        """A function asks for a step. The first time somebody may answer."""
        self._goes_on(run, f"asks for step {op.key}")
        times = self.seen.asked.setdefault((run, op.key), [])
        times.append(self._sim.loop.time())
        if len(times) == 1:
            self._sim.people.see(run)
        if len(times) > 1 or not op.waits:
            return
        if op.kind == "suspend":
            topic = reserved.resume_topic(run, op.key)
            for _ in range(self._random.choice((1, 1, 2))):
                self._answer(op, On(topic=topic))
        for one in op.on:
            self._answer(op, one)

    # --- answers ----------------------------------------------------------------------------------------------------

    def _answer(self, op: Op, one: On) -> None:
        random = self._random
        if random.random() > self.eager:
            return
        if op.timeout is not None and random.random() < 0.5:
            wait = max(0.0, op.timeout + random.choice((-0.002, -0.001, 0.0, 0.001, 0.002, 0.02, -0.02)))
        else:
            wait = random.choice((0.0, 0.001, 0.01, 0.1, 0.5)) * random.random()
        self.coming += 1
        loop = self._sim.loop
        loop.call_at_in(loop.root, loop.time() + wait, self._produce, one)

    def _produce(self, one: On) -> None:
        """Somebody produces an event that meets a condition, or nearly: once or twice, wherever it lands."""
        random = self._random
        self.coming -= 1
        self._count += 1
        topic = random.choice(_LITERAL.get(one.topic, (one.topic,)))
        key = one.key if one.key is not None and random.random() < 0.8 else random.choice((None, "k0", "k2"))
        body: dict[str, Any] = {"topic": topic, "data": {"answer": self._count}}
        kind = one.type if one.type is not None and random.random() < 0.8 else random.choice((None, "u"))
        if kind is not None:
            body["event_type"] = kind
        event_id = f"a{self._count}" if random.random() < 0.6 else None
        if event_id is not None:
            body["id"] = event_id
        entry = Entry(None if key is None else key.encode(), orjson.dumps(body), ())
        home = keys.home(key, event_id, self._sim.partitions)
        for _ in range(2 if event_id is not None and random.random() < 0.2 else 1):
            number = random.randrange(self._sim.partitions) if home is None or random.random() < 0.4 else home
            self._sim.cluster.produce("events", number, [entry])

    def _op(self, run: str, key: str) -> Op:
        plan = self._sim.plans[run.partition(":")[0]]
        return plan.ops[key]


def _run_of(key: bytes) -> str:
    return key[len(STEP) :].decode().rpartition("#")[0]


def _came_to(record: dict[str, Any]) -> Any:
    return record["s"], record.get("v"), record.get("e")


def _meaning(op: Op, record: dict[str, Any]) -> Any:
    """Return what a function should get of a step's record, as `durable` writes it down."""
    if record["s"] == "failed":
        return {"error": record["e"]["type"]}
    value = record["v"]
    if op.calls:
        return _of_children(value, one=op.kind == "call")
    if op.kind == "invoke":
        return value[0]
    if op.kind == "now":
        return time_of(value).isoformat()
    if op.kind == "event":
        return place_of(value["event"])
    if op.kind == "any":
        return [value["n"], place_of(value["event"])]
    if op.kind == "all":
        several = len(op.on) + (op.after is not None) > 1
        return [place_of(one) for one in value] if several else [place_of(value["event"])]
    return value


def _of_children(value: list[dict[str, Any]], *, one: bool) -> Any:
    results = [child.get("result") for child in value]
    for number, child in enumerate(value):
        if child["status"] != "completed":
            about = {"status": child["status"], "number": number, "results": results}
            return {"error": child["error"]["type"]} | about
    return results[0] if one else results


def place_of(raw: dict[str, Any] | None) -> str | None:
    """Return the `sequence_id` of a raw event."""
    return None if raw is None else f"{raw['p']}-{raw['o']}"

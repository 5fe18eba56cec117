"""Recorded histories: what happened to a partition, what its journal held after each commit, and what it sent out.

`python -m tests.replay.history` records what `scenarios.py` names and has no file yet, and adds the SHA-256 sum of each
file that has none to `histories/never-edited.sha256`. Neither is ever written again: a history stands for the journals
that are out there.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

from app.engine import apply as engine
from app.engine.effects import Effects, Rise
from app.engine.inputs import (
    BodiesRead,
    CaughtUp,
    CommandsRead,
    Delivered,
    Ended,
    EventsRead,
    Evicted,
    Failure,
    Input,
    Judged,
    LookedBack,
    RunsRead,
    StepAsked,
    StepEnded,
    Unparked,
    WorkflowsLoaded,
)
from app.engine.journal.commit import commit
from app.engine.journal.entities import Entities, event_of
from app.engine.journal.restore import restore
from app.engine.runs import atrest, rising, runs
from app.engine.starts import waking
from app.engine.steps import steps
from app.engine.tables.registry import Look
from app.engine.tables.state import State, empty
from app.engine.values.asks import Ask, Await, Child, EventCondition, Execute, Invoke, Kind, Note, Sleep, Suspend
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.values.outgoing import Outgoing, Record
from app.engine.waits import flushes, lookbacks, waits
from headgate.definition import Workflow, workflow
from topics import asked, commands, journal, keys
from topics.envelope import Envelope
from topics.facts import result_headers

FOLDER: Final = Path(__file__).parent / "histories"
SUMS: Final = FOLDER / "never-edited.sha256"
"""As `sha256sum` writes it: a line for each history."""
Step = dict[str, Any]
FILTERS: Final = {"above_two": lambda event: event["data"] > 2}


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def sum_of(name: str) -> str:
    return hashlib.sha256((FOLDER / f"{name}.json").read_bytes()).hexdigest()


def sums() -> dict[str, str]:
    """Return the sum that each history had when it was recorded."""
    lines = (line.split() for line in SUMS.read_text(encoding="utf-8").splitlines())
    return {file.removesuffix(".json"): found for found, file in lines}


class Player:
    """Gives the steps of a history to the engine."""

    def __init__(self, history: Mapping[str, Any], entities: Mapping[bytes, bytes] | None = None) -> None:
        self._history = history
        self.again: list[Outgoing] = []
        limits = Limits(
            partitions=history["partitions"],
            reply_allowed=lambda topic: topic == "answers",
            **({"topics_of_a_head": 0} | history["limits"]),  # the first ones are from when heads alone were asked for
        )
        self.log: list[bytes] = [b"claim"]
        """The values of all records, by offset."""
        self.told: dict[str, set[str]] = {}
        """By run, the steps that its function was told of when it was called anew."""
        if entities is None:
            self.state: State = empty(history["partition"], limits, journal_id="j")
        else:
            read = Entities()
            for key, value in entities.items():
                read.put(key, value, len(self.log))
                self.log.append(value)
            found = restore(read, history["partition"], limits, journal_id="j")
            self.state, self.again = found.state, found.deliver_again
        self.entities = dict(entities or {})

    def give(self, step: Step) -> list[str]:
        """Give one step; return the ids of the runs that start."""
        with mock.patch.object(waits, "MOST_A_ROUND", self._history.get("waits_a_round", waits.MOST_A_ROUND)):
            return self._give(step)

    def _give(self, step: Step) -> list[str]:
        starts = self._started(engine.apply(self.state, list(self._inputs(step)), step["now"]))
        for run in step.get("mended", []):
            assert runs.retry_stuck(self.state, run)
        for run, key, value in step.get("resumed", []):
            effects = Effects()
            assert steps.resume(self.state, run, key, value.encode(), effects)
            starts += self._started(effects)
        while read := self._read():
            starts += self._started(engine.apply(self.state, read, step["now"]))
        return starts

    def _started(self, effects: Effects) -> list[str]:
        risen = [one for one in effects.after if isinstance(one, Rise)]
        self.told.update({one.run.id: {step.key for step in one.recorded} for one in risen})
        return [one.id for one in (*effects.starts, *(one.run for one in risen))]

    def _read(self) -> list[Input]:
        """Return what the pump reads beside the rounds, if anything of that is wanted."""
        question = flushes.question(self.state)
        if question is not None:
            return [CaughtUp(question, self.state.events_offset, self.state.commands_offset)]
        if self.state.lookbacks:
            return [LookedBack(one.number, self._found(one), done=True) for one in lookbacks.take(self.state)]
        read = self._recalled()
        return [] if read is None else [read]

    def _found(self, look: Look) -> list[Envelope]:
        """Look back over the events and commands that the history has."""
        given = self._history["steps"]
        own = [commands.event_of(raw) for step in given for raw in step.get("events", ())]
        found = [
            one
            for one in own
            if look.events_from <= one.offset < look.events_end
            and keys.home_of(one, self._history["partitions"]) == self._history["partition"]
        ]
        told = [commands.decode(one.encode()) for step in given for one in step.get("commands", ())]
        for command in told[look.commands_from : look.commands_end]:
            found.extend(command.events)
            if look.notices:
                found.extend(one.event for one in command.asks if isinstance(one, asked.Notice))
        return list({keys.digest_of(one): one for one in reversed(found) if look.wants(one)}.values())[::-1]

    def _recalled(self) -> Input | None:
        if wanted := rising.wanted(self.state, 100):
            return RunsRead(
                [
                    (
                        one.run_id,
                        [event_of(number, self.log[offset]) for number, offset in one.bodies],
                        [self.log[offset] for offset in one.steps],
                    )
                    for one in wanted
                ]
            )
        numbers = waking.wanted(self.state, 100)
        bodies = [(one, event_of(one, self.entities[journal.body_key(one)])) for one in numbers]
        return BodiesRead(bodies) if bodies else None

    def load(self, number: int, now_ms: int) -> list[str]:
        return self.give({"now": now_ms, "load": number})

    def commit(self) -> dict[str, Any] | None:
        """Close a round; return what it wrote and what it sends out, as a history holds it."""
        made = commit(self.state)
        if made is None:
            return None
        written = [*made.ahead, *made.batch]
        for key, value in written:
            self.entities.pop(key, None)
            if value is not None:
                self.entities[key] = value
                if key in made.placed:
                    made.placed[key].offset = len(self.log)
            self.log.append(value or b"")
        atrest.pack(self.state)
        return {
            "journal": [[key.decode(), None if value is None else value.decode()] for key, value in written],
            "sent": shown(made.outgoing),
        }

    def _inputs(self, step: Step) -> Iterator[Input]:
        if "load" in step:
            loaded, announced = self._history["workflows"][step["load"]]
            retired = step.get("retired", {})
            if self._history.get("inputs", 1) == 1:  # then, leaving a workflow out said that it is gone
                named = {one["id"] for one in (*loaded, *announced)}
                retired = {name: step["now"] for name in self.state.known if name not in named}
            yield WorkflowsLoaded([made(one) for one in loaded], [defined(one) for one in announced], retired)
        if "commands" in step:
            given = [commands.decode(one.encode()) for one in step["commands"]]
            yield CommandsRead(given, [], self.state.commands_offset + len(given))
        if "events" in step:
            envelopes = [commands.event_of(one) for one in step["events"]]
            yield EventsRead(envelopes, [], 1 + max(one.offset for one in envelopes))
        for run, attempt, key in step.get("published", []):
            record = Record("events", 0, None, json.dumps({"topic": "told", "data": key}).encode(), ())
            if key not in self.told.get(run, ()):
                event_id = json.dumps(f"{run}:{key}").encode()
                yield StepAsked(run, attempt, key, "publish_event", Note(event_id, (record,), quiet=True))
        for run, attempt, result, failure in step.get("ended", []):
            yield Ended(run, attempt, result and result.encode(), failure and Failure(**failure))
        for run, attempt, key, kind, about in step.get("asked", []):
            yield StepAsked(run, attempt, key, f"{kind} {key}", ask_of(Kind(kind), about))
        for run, attempt, key, value, failure in step.get("step_ended", []):
            yield StepEnded(run, attempt, key, value and value.encode(), failure and Failure(**failure))
        for run, attempt, key, condition, passed in step.get("judged", []):
            yield Judged(run, attempt, key, condition, passed)
        if "evicted" in step:
            yield Evicted(step["evicted"])
        if "delivered" in step:
            parked = {int(number): foreign(topic) for number, topic in step.get("parked", {}).items()}
            round_, results_end, runs_end = step["delivered"]
            yield Delivered(round_, results_end, runs_end, parked)
        if "unparked" in step:
            yield Unparked(step["unparked"])


def foreign(topic: str) -> Record:
    return Record(topic, None, b"k", b'{"n":1}', (("causation_id", b"r"),), foreign=True)


def ask_of(kind: Kind, about: Any) -> Ask:
    if kind is Kind.NOTE:
        return Note(b"null", (foreign(about["send"]),)) if isinstance(about, dict) else Note(about.encode())
    if kind is Kind.SLEEP:
        return Sleep(until_ms=about)
    if kind is Kind.SUSPEND:
        given = about if isinstance(about, dict) else {"deadline_ms": about}
        return Suspend(data=b'{"who":"you"}', **given)
    if kind is Kind.AWAIT and isinstance(about, dict):
        wanted = [one if isinstance(one, dict) else Sleep(until_ms=one) for one in about["conditions"]]
        conditions = tuple(EventCondition(**one) if isinstance(one, dict) else one for one in wanted)
        return Await(conditions=conditions, need=about["need"], deadline_ms=about["deadline_ms"])
    if kind is Kind.AWAIT:
        return Await(conditions=tuple(Sleep(until_ms=one) for one in about), need=len(about), deadline_ms=None)
    if kind is Kind.INVOKE:
        return Invoke(children=tuple(Child(workflow_id=one, payload=b'{"n": 1}') for one in about), wait=True)
    return Execute(max_retries=about, base_delay_ms=1_000, max_delay_ms=9_000)


def made(described: Mapping[str, Any]) -> Workflow:
    async def fn(ctx: Any, payload: Any) -> None:
        raise AssertionError("a replay calls no author's function")

    options = dict(described)
    if "filter" in options:
        options["filter"] = FILTERS[options["filter"]]
    built: Workflow = workflow(**options)(fn)
    return built


def defined(described: Mapping[str, Any]) -> Definition:
    options = dict(described)
    announced_ms = options.pop("announced", 0)
    return Definition.of(made(options), announced_ms=announced_ms)


def shown(outgoing: Outgoing) -> dict[str, Any]:
    """What goes out, in JSON and in an order that a takeover cannot change."""

    def record(one: Record) -> list[Any]:
        headers = journal.headers_field(one.headers)
        return [one.topic, one.partition, journal.bytes_field(one.key), journal.bytes_field(one.value), headers]

    return {
        "results": sorted(
            ([key.decode(), value.decode(), [[n, v.decode()] for n, v in result_headers(key, shared, parent)]])
            for key, value, shared, parent in outgoing.results
        ),
        "runs": sorted((record(one) for one in outgoing.runs), key=str),
        "records": sorted((record(one) for one in outgoing.records), key=str),
    }


def entities_after(history: Mapping[str, Any], commits: int) -> dict[bytes, bytes]:
    """What compaction leaves of the first `commits` commits."""
    entities: dict[bytes, bytes] = {}
    done = 0
    for step in history["steps"]:
        if done == commits:
            break
        if "commit" in step:
            done += 1
            for key, value in step["commit"]["journal"]:
                entities.pop(key.encode(), None)
                if value is not None:
                    entities[key.encode()] = value.encode()
    return entities


def main() -> None:
    """Record what has no file yet, and the sums of files that have none."""
    from tests.replay import scenarios

    for name, scenario in scenarios.ALL.items():
        path = FOLDER / f"{name}.json"
        if path.exists():
            continue
        path.write_text(json.dumps(scenario(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"recorded {path.name}")
    known = sums()
    known = {name: known.get(name) or sum_of(name) for name in sorted({*known, *names()})}
    SUMS.write_text("".join(f"{found}  {name}.json\n" for name, found in known.items()), encoding="utf-8")


if __name__ == "__main__":
    main()

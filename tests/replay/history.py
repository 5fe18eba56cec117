"""Recorded histories: what happened to a partition, what its journal held after each commit, and what it sent out.

`python -m tests.replay.history` records what is in `scenarios.py` and has no file yet. A file is never written again:
it stands for the journals that are out there.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from app.engine import apply as engine
from app.engine.effects import Effects, Rise
from app.engine.inputs import (
    BodiesRead,
    CommandsRead,
    Delivered,
    Ended,
    EventsRead,
    Evicted,
    Failure,
    Input,
    RunsRead,
    StepAsked,
    StepEnded,
    WorkflowsLoaded,
)
from app.engine.journal.commit import commit
from app.engine.journal.entities import Entities, event_of
from app.engine.journal.restore import restore
from app.engine.runs import rising, runs
from app.engine.starts import waking
from app.engine.steps import steps
from app.engine.tables.state import State, empty
from app.engine.values.asks import Ask, Await, Child, Execute, Invoke, Kind, Note, Sleep, Suspend
from app.engine.values.known import Definition
from app.engine.values.limits import Limits
from app.engine.values.outgoing import Outgoing, Record
from headgate.definition import Workflow, workflow
from topics import commands, journal

FOLDER: Final = Path(__file__).parent / "histories"
Step = dict[str, Any]
FILTERS: Final = {"above_two": lambda event: event["data"] > 2}


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


class Player:
    """Gives the steps of a history to the engine."""

    def __init__(self, history: Mapping[str, Any], entities: Mapping[bytes, bytes] | None = None) -> None:
        self._history = history
        self.again: list[Outgoing] = []
        limits = Limits(
            partitions=history["partitions"], reply_allowed=lambda topic: topic == "answers", **history["limits"]
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
        starts = self._started(engine.apply(self.state, list(self._inputs(step)), step["now"]))
        for run in step.get("mended", []):
            assert runs.retry_stuck(self.state, run)
        for run, key, value in step.get("resumed", []):
            effects = Effects()
            assert steps.resume(self.state, run, key, value.encode(), effects)
            starts += self._started(effects)
        while (read := self._recalled()) is not None:
            starts += self._started(engine.apply(self.state, [read], step["now"]))
        return starts

    def _started(self, effects: Effects) -> list[str]:
        risen = [one for one in effects.after if isinstance(one, Rise)]
        self.told.update({one.run.id: {step.key for step in one.recorded} for one in risen})
        return [one.id for one in (*effects.starts, *(one.run for one in risen))]

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
        if "evicted" in step:
            yield Evicted(step["evicted"])
        if "delivered" in step:
            yield Delivered(*step["delivered"])


def ask_of(kind: Kind, about: Any) -> Ask:
    if kind is Kind.NOTE:
        return Note(about.encode())
    if kind is Kind.SLEEP:
        return Sleep(until_ms=about)
    if kind is Kind.SUSPEND:
        return Suspend(data=b'{"who":"you"}', deadline_ms=about)
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
            ([key.decode(), value.decode(), [[n, v.decode()] for n, v in headers]])
            for key, value, headers, _ in outgoing.results
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
    """Record what has no file yet."""
    from tests.replay import scenarios

    for name, scenario in scenarios.ALL.items():
        path = FOLDER / f"{name}.json"
        if path.exists():
            continue
        path.write_text(json.dumps(scenario(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"recorded {path.name}")


if __name__ == "__main__":
    main()

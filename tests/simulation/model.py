"""What must hold when everything is quiet, computed from the topics alone: the sequential model of the promises."""

import base64
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson

from tests.simulation.programs import LAST_TICK, TICK, Program
from tests.simulation.scenario import Scenario, Violation
from tests.simulation.worker import EPOCH_MS
from topics import codec, keys
from topics.envelope import Envelope
from topics.timestamps import milliseconds


@dataclass(slots=True)
class Identity:
    """One event, and all the records that say it."""

    home: int
    copies: list[Envelope] = field(default_factory=list)

    @property
    def event(self) -> Envelope:
        return self.copies[0]


@dataclass(slots=True)
class Result:
    partition: int
    at: int
    value: dict[str, Any]
    events: list[tuple[int, int]]

    @property
    def workflow(self) -> str:
        return str(self.value["workflow_id"])


class Check:
    """The verdict on one scenario."""

    def __init__(self, sim: Scenario) -> None:
        self.sim = sim
        self.programs = {one.id: one for one in sim.programs}
        self.identities: dict[bytes, Identity] = {}
        self.by_place: dict[tuple[int, int], bytes] = {}
        self.malformed: dict[tuple[int, int], str] = {}
        self.known: dict[int, dict[str, int]] = {}
        self._read_events()
        results = list(self._results())
        letters = [
            orjson.loads(one.value)
            for number in range(sim.cluster.count("dlq"))
            for one in sim.cluster.read("dlq", number)
            if one.value is not None
        ]
        self.results = [one for one in results if one.workflow != TICK]
        self.letters = [one for one in letters if one["workflow_id"] != TICK]
        self.ticks = [one for one in results if one.workflow == TICK]
        self.tick_letters = [one for one in letters if one["workflow_id"] == TICK]
        for number in range(sim.partitions):
            worker = next(one for one in sim.workers.values() if not one.process.dead and number in one.partitions)
            pump = worker.partitions.pump(number)
            assert pump is not None
            self.known[number] = pump.state.known
            sim.compare(pump.state, marks=False)
        if sim._problem is not None:
            raise sim._problem

    def _read_events(self) -> None:
        published: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
        for number in range(self.sim.partitions):
            for one in self.sim.cluster.read("events", number):
                try:
                    event = codec.decode(
                        one.value,
                        one.key,
                        one.headers,
                        partition=number,
                        offset=one.offset,
                        timestamp_ms=one.timestamp,
                        max_bytes=self.sim.shape.bounds.event_bytes,
                    )
                except codec.Malformed as error:
                    self.malformed[number, one.offset] = error.code
                    continue
                digest = keys.digest_of(event)
                home = keys.home_of(event, self.sim.partitions)
                self.identities.setdefault(digest, Identity(home)).copies.append(event)
                self.by_place[number, one.offset] = digest
                if any(name == "causation_id" for name, _ in one.headers):
                    published[event.id].add((one.key, one.value, tuple(one.headers), number))
        for event_id, forms in published.items():
            if len(forms) > 1 and not self.sim.tight_dedup:  # a forgotten event runs again, under the same ids
                raise Violation(f"event {event_id} was published in {len(forms)} forms: {forms}")

    def _results(self) -> Iterator[Result]:
        for number in range(self.sim.partitions):
            for one in self.sim.cluster.read("results", number):
                if one.value is None:
                    continue
                value = orjson.loads(one.value)
                yield Result(
                    number, one.offset, value, [(event["partition"], event["offset"]) for event in value["events"]]
                )

    # --- checks -----------------------------------------------------------------------------------------------------

    def everything(self) -> None:
        self.each_event_has_its_results()
        self.each_result_is_right()
        self.batches_keep_their_bounds()
        self.replays_see_the_same_events()
        self.keys_keep_their_order()
        self.what_runs_publish_is_there()
        self.dead_letters_are_right()
        self.replies_are_there()
        self.facts_match_results()
        if self.sim.ticks:
            self.each_instant_has_its_run()

    def expected(self, identity: Identity, program: Program) -> tuple[int, int]:
        """Return how many results (fewest, most) an event must have of a workflow."""
        since = self.known[identity.home].get(program.id)
        workflow = self.sim.workflows[program.id]
        if since is None or not workflow.matches(identity.event.topic):
            return 0, 0
        verdicts = [program.passes(one) for one in identity.copies]
        if "yes" not in verdicts or self.too_many(identity)[1]:
            return 0, 0
        times = [one.timestamp_ms for one in identity.copies]
        fewest = 1 if min(times) > since else 0
        most = 1 if max(times) >= since else 0
        if self.too_many(identity)[0] or set(verdicts) != {"yes"}:
            fewest = 0
        if self.sim.tight_dedup or not identity.event.explicit:
            most *= len(identity.copies)
        return fewest, most

    def too_many(self, identity: Identity) -> tuple[bool, bool]:
        """Say whether more workflows than allowed may, and must, match an event."""
        limit = self.sim.shape.limits.workflows_per_event
        since = self.known[identity.home]
        matching = [
            since[name]
            for name, one in self.sim.workflows.items()
            if name in since and one.matches(identity.event.topic)
        ]
        times = [one.timestamp_ms for one in identity.copies]
        may = sum(max(times) >= one for one in matching) > limit
        must = sum(min(times) > one for one in matching) > limit
        return may, must

    def each_event_has_its_results(self) -> None:
        counts: Counter[tuple[bytes, str]] = Counter()
        overslept: Counter[tuple[bytes, str]] = Counter()
        asleep = [(one["source"], one["workflow_id"]) for one in self.letters if one["code"] == "too_many_asleep"]
        for partition, offset, workflow in {(one["partition"], one["offset"], name) for one, name in asleep}:
            overslept[self.by_place[partition, offset], workflow] += 1  # a letter may come twice, and means one event
        for result in self.results:
            for place in result.events:
                if place not in self.by_place:
                    raise Violation(f"{result.value['run_id']} has an event at {place}, where none is")
                counts[self.by_place[place], result.workflow] += 1
        for digest, identity in self.identities.items():
            for program in self.programs.values():
                fewest, most = self.expected(identity, program)
                found, letters = counts[digest, program.id], overslept[digest, program.id]
                fewest, most = max(0, fewest - letters), max(0, most - letters)
                if not fewest <= found <= most:
                    word = "LOST" if found < fewest else "DOUBLED"
                    places = [(one.partition, one.offset) for one in identity.copies]
                    raise Violation(
                        f"{word}: event {identity.event.id} (key {identity.event.key}) at {places}, home "
                        f"{identity.home}, has {found} results of {program.id}, not {fewest}..{most}"
                    )

    def each_result_is_right(self) -> None:
        ids: Counter[str] = Counter()
        for result in self.results:
            value = result.value
            program = self.programs[result.workflow]
            status, attempts = program.outcome()
            found = (value["status"], value["attempts"])
            if found != (status, attempts):
                raise Violation(f"{value['run_id']} has {found}, not {(status, attempts)}: {value['error']}")
            first = self.by_place[result.events[0]]
            if value["run_id"] != keys.run_id(program.id, first):
                raise Violation(f"run {value['run_id']} is not named after its first event {first.hex()}")
            identity = self.identities[first]
            home = identity.home
            if program.batch_size > 1 and program.batch_by == "workflow":
                home = keys.partition_of(program.id.encode(), self.sim.partitions)
            if result.partition != home:
                raise Violation(f"{value['run_id']} ended at partition {result.partition}, its home is {home}")
            ids[value["run_id"]] += 1
        doubled = [one for one, count in ids.items() if count > 1]
        if doubled and not self.sim.tight_dedup:
            raise Violation(f"DOUBLED results: {doubled}")

    def batches_keep_their_bounds(self) -> None:
        for result in self.results:
            program = self.programs[result.workflow]
            if len(result.events) > program.batch_size:
                raise Violation(
                    f"{result.value['run_id']} has {len(result.events)} events, {program.batch_size} are allowed"
                )
            if program.batch_size > 1 and program.batch_by == "key":
                found = {self.identities[self.by_place[place]].event.key for place in result.events}
                if len(found) > 1:
                    raise Violation(f"{result.value['run_id']} mixes the keys {found}")
            if program.batch_timeout_seconds is not None and len(result.events) < program.batch_size:
                oldest = self.at(result.events[0]).timestamp_ms + program.batch_timeout_seconds * 1000
                size = sum(self.at(place).size for place in result.events)
                started = milliseconds(result.value["started_at"])
                if started < int(oldest) and size <= self.sim.shape.limits.batch_bytes - 150:
                    full = self.sim.shape.limits.batch_bytes < 1_000
                    if not full:
                        raise Violation(
                            f"{result.value['run_id']} started {oldest - started} ms before its batch was due"
                        )

    def at(self, place: tuple[int, int]) -> Envelope:
        return next(one for one in self.identities[self.by_place[place]].copies if (one.partition, one.offset) == place)

    def replays_see_the_same_events(self) -> None:
        if self.sim.tight_dedup:
            return  # a run's id may come again, with other events in its batch
        recorded = {
            result.value["run_id"]: tuple(
                f"{one['partition']}-{one['offset']}/{one['id']}" for one in result.value["events"]
            )
            for result in self.results
        }
        # A run that was never journaled may be decided anew; one that was keeps its events.
        for run, seen in self.sim.seen.journaled.items():
            if seen - {recorded.get(run)}:
                raise Violation(f"{run} was called with {seen}, its result says {recorded.get(run)}")

    def facts(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(one.value)
            for number in range(self.sim.partitions)
            for one in self.sim.cluster.read("runs", number)
            if one.value is not None
        ]

    def keys_keep_their_order(self) -> None:
        lanes: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
        for result in self.results:
            program = self.programs[result.workflow]
            key = result.value["key"]
            if program.order == "none":
                continue
            if program.batch_size > 1:
                group = key if program.batch_by == "key" else None
                lanes[program.id, result.partition, group].append(result)
            elif key is not None:
                lanes[program.id, result.partition, key].append(result)
        for lane, results in lanes.items():
            for before, after in pairwise(results):
                if milliseconds(after.value["started_at"]) < milliseconds(before.value["finished_at"]):
                    raise Violation(
                        f"ORDER: in {lane}, {after.value['run_id']} started before {before.value['run_id']} finished"
                    )
            last: dict[int, tuple[int, str]] = {}
            for result in results:
                for partition, offset in result.events:
                    if partition in last and last[partition][0] > offset:
                        raise Violation(f"ORDER: in {lane}, {partition}-{offset} came after {last[partition]}")
                    if self.gathers_in_order(result):
                        last[partition] = (offset, result.value["run_id"])

    def gathers_in_order(self, result: Result) -> bool:
        """Batches of a workflow take events of several homes: an event's way may go over its home's partition."""
        program = self.programs[result.workflow]
        return program.batch_size == 1 or program.batch_by == "key"

    def what_runs_publish_is_there(self) -> None:
        there: Counter[tuple[str, str, str | None]] = Counter()
        for identity in self.identities.values():
            there[identity.event.id, identity.event.topic, identity.event.key] += 1
        for result in self.results:
            program = self.programs[result.workflow]
            for number in range(program.publishes):
                topic, _, key = program.published(number)
                name = keys.published_event_id(result.value["run_id"], f"hop{number}")
                if not there[name, topic, key]:
                    raise Violation(f"LOST: {result.value['run_id']} has published {name}, which is not in events")

    def dead_letters_are_right(self) -> None:
        found: Counter[tuple[str, int, int, str | None]] = Counter()
        for one in self.letters:
            source = one["source"]
            found[one["code"], source["partition"], source["offset"], one["workflow_id"]] += 1
            self.check_original(one)
        wanted: Counter[tuple[str, int, int, str | None]] = Counter()
        for (partition, offset), code in self.malformed.items():
            wanted[code, partition, offset, None] = 1
        for result in self.results:
            if result.value["status"] in ("failed", "rejected"):
                code = "run_rejected" if result.value["status"] == "rejected" else "run_failed"
                for partition, offset in result.events:
                    wanted[code, partition, offset, result.workflow] = 1
        missing = [one for one in wanted if not found[one]]
        if missing:
            raise Violation(f"LOST: no dead letter for {missing}")
        for code, partition, offset, workflow in found:
            if (code, partition, offset, workflow) in wanted:
                continue
            digest = self.by_place.get((partition, offset))
            if code == "topic_missing" and partition == -1:
                continue
            if digest is None:
                raise Violation(f"a dead letter {code} of {partition}-{offset}, where no event is")
            identity = self.identities[digest]
            fits = (
                (
                    code == "filter_failed"
                    and workflow is not None
                    and self.programs[workflow].passes(self.at((partition, offset))) == "raises"
                )
                or (code == "too_many_workflows" and self.too_many(identity)[0])
                or (code == "too_many_asleep" and self.sim.shape.limits.asleep_events < 100)
                or (code == "reply_refused" and identity.event.reply_topic == "forbidden")
            )
            if not fits:
                raise Violation(f"a dead letter {code} of {partition}-{offset} ({workflow}) that nothing explains")
        for identity in self.identities.values():
            self.check_buried(identity, found)

    def check_buried(self, identity: Identity, found: Counter[tuple[str, int, int, str | None]]) -> None:
        """An event that could not be decided has a dead letter."""

        def has(code: str, workflow: str | None) -> bool:
            return any(found[code, one.partition, one.offset, workflow] for one in identity.copies)

        if self.too_many(identity)[1] and not has("too_many_workflows", None):
            raise Violation(f"LOST: {identity.event.id} triggers too many workflows, without a dead letter")
        if self.too_many(identity)[0]:
            return
        oldest = min(one.timestamp_ms for one in identity.copies)
        for program in self.programs.values():
            since = self.known[identity.home].get(program.id)
            if since is None or oldest <= since or not self.sim.workflows[program.id].matches(identity.event.topic):
                continue
            if has("too_many_asleep", program.id):
                continue
            if {program.passes(one) for one in identity.copies} == {"raises"} and not has("filter_failed", program.id):
                raise Violation(f"LOST: the filter of {program.id} failed for {identity.event.id}, no dead letter")

    def check_original(self, letter: dict[str, Any]) -> None:
        source = letter["source"]
        if source["partition"] < 0:
            return
        records = self.sim.cluster.read("events", source["partition"])
        original = next(one for one in records if one.offset == source["offset"])
        if (_bytes(letter["value"], letter["encoding"]["value"]), _bytes(letter["key"], letter["encoding"]["key"])) != (
            original.value,
            original.key,
        ):
            raise Violation(f"the dead letter of {source} does not hold the original: {letter}")

    def replies_are_there(self) -> None:
        found = Counter(
            (dict(one.headers)["run_id"], dict(one.headers).get("correlation_id"))
            for one in self.sim.cluster.read("replies", 0)
        )
        for result in self.results:
            for place in result.events:
                event = self.at(place)
                name = result.value["run_id"].encode()
                correlation = None if event.correlation_id is None else event.correlation_id.encode()
                if event.reply_topic == "replies" and not found[name, correlation]:
                    raise Violation(f"LOST: no reply of {result.value['run_id']} to {event.correlation_id}")

    def facts_match_results(self) -> None:
        finished = Counter(one["run_id"] for one in self.facts() if one["fact"] == "run_finished")
        started = Counter(one["run_id"] for one in self.facts() if one["fact"] == "run_started")
        if self.sim.tight_dedup:
            return
        ended = {result.value["run_id"] for result in (*self.results, *self.ticks)}
        for run, count in started.items():
            if count > 1:
                raise Violation(f"DOUBLED: {count} facts say that {run} started")
            if finished[run] != 1:
                raise Violation(f"{finished[run]} facts say that {run} finished")
            if run not in ended:
                raise Violation(f"LOST: {run} started and has no result")
        for run in finished:
            if run not in started:
                raise Violation(f"{run} finished, but no fact says that it started")

    def each_instant_has_its_run(self) -> None:
        schedule = self.sim.workflows[TICK].schedule
        since = self.sim.seen.ticks_from
        assert schedule is not None
        if since is None:
            raise Violation("nobody follows the schedule")
        found = [milliseconds(one.value["result"]["scheduled_at"]) for one in self.ticks]
        due = [one for one in (EPOCH_MS + 1000 * second for second in range(LAST_TICK + 1)) if one > since]
        # What slept for code and was too much is a dead letter.
        buried = [milliseconds(orjson.loads(one["value"])["data"]["scheduled_at"]) for one in self.tick_letters]
        if len(set(found)) != len(found):
            raise Violation(f"DOUBLED: the schedule has runs of {found}")
        if strangers := {*found, *buried} - {*due}:
            raise Violation(f"the schedule has runs of {strangers}, when nothing was due since {since}")
        needed = due if schedule.catch_up == "all" else due[-1:]
        if lost := {*needed} - {*found, *buried}:
            raise Violation(f"LOST: the schedule has no run of {lost} since {since}")
        home = keys.partition_of(TICK.encode(), self.sim.partitions)
        for before, after in pairwise(self.ticks):
            if milliseconds(after.value["started_at"]) < milliseconds(before.value["finished_at"]):
                raise Violation(f"ORDER: {after.value['run_id']} started before {before.value['run_id']} finished")
        for one, instant in zip(self.ticks, found, strict=True):
            if one.partition != home or milliseconds(one.value["started_at"]) < instant:
                raise Violation(f"{one.value} ended at partition {one.partition}, its home is {home}")


def _bytes(text: str | None, encoding: str | None) -> bytes | None:
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "base64" else text.encode()


def check(sim: Scenario) -> None:
    """Raise Violation when a promise was broken."""
    Check(sim).everything()

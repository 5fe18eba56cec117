"""Results: each event has those that it must have, and each of them is right."""

from collections import Counter
from typing import Any

from tests.simulation.model.logs import Identity, Logs
from tests.simulation.programs import Program
from tests.simulation.violation import Violation
from topics import keys
from topics.reserved import start_topic
from topics.timestamps import milliseconds

NOT_RUN = ("too_many_asleep", "no_such_workflow")
"""Why events are dead letters that a workflow should have run."""


def expected(logs: Logs, identity: Identity, program: Program) -> tuple[int, int]:
    """Return how many results (fewest, most) an event must have of a workflow."""
    since = logs.known[identity.home].get(program.id)
    workflow = logs.sim.workflows[program.id]
    if since is None or not workflow.matches(identity.event.topic):
        return 0, 0
    verdicts = [program.passes(one) for one in identity.copies]
    if "yes" not in verdicts or too_many(logs, identity)[1]:
        return 0, 0
    if identity.event.topic == start_topic(program.id):  # whenever it was known
        return 1, 1
    times = [one.timestamp_ms for one in identity.copies]
    fewest = 1 if min(times) > since else 0
    most = 1 if max(times) >= since else 0
    if too_many(logs, identity)[0] or set(verdicts) != {"yes"}:
        fewest = 0
    if logs.sim.tight_dedup or not identity.event.explicit:
        most *= len(identity.copies)
    return fewest, most


def too_many(logs: Logs, identity: Identity) -> tuple[bool, bool]:
    """Say whether more workflows than allowed may, and must, match an event."""
    limit = logs.sim.shape.limits.workflows_per_event
    since = logs.known[identity.home]
    matching = [
        since[name] for name, one in logs.sim.workflows.items() if name in since and one.matches(identity.event.topic)
    ]
    times = [one.timestamp_ms for one in identity.copies]
    may = sum(max(times) >= one for one in matching) > limit
    must = sum(min(times) > one for one in matching) > limit
    return may, must


def each_event_has_its_results(logs: Logs) -> None:
    counts: Counter[tuple[bytes, str]] = Counter()
    overslept: Counter[tuple[bytes, str]] = Counter()
    asleep = [(one["source"], one["workflow_id"]) for one in logs.letters if one["code"] in NOT_RUN]
    for partition, offset, workflow in {(one["partition"], one["offset"], name) for one, name in asleep}:
        overslept[logs.by_place[partition, offset], workflow] += 1  # a letter may come twice, and means one event
    for result in logs.results:
        for place in result.events:
            if place not in logs.by_place:
                raise Violation(f"{result.value['run_id']} has an event at {place}, where none is")
            counts[logs.by_place[place], result.workflow] += 1
    for run in logs.waiting:
        for event in logs.events_of(run):
            counts[logs.by_place[event.partition, event.offset], run.partition(":")[0]] += 1
    for digest, identity in logs.identities.items():
        for program in logs.programs.values():
            fewest, most = expected(logs, identity, program)
            found, letters = counts[digest, program.id], overslept[digest, program.id]
            fewest, most = max(0, fewest - letters), max(0, most - letters)
            if not fewest <= found <= most:
                word = "LOST" if found < fewest else "DOUBLED"
                places = [(one.partition, one.offset) for one in identity.copies]
                raise Violation(
                    f"{word}: event {identity.event.id} (key {identity.event.key}) at {places}, home "
                    f"{identity.home}, has {found} results of {program.id}, not {fewest}..{most}"
                )


def each_result_is_right(logs: Logs) -> None:
    ids: Counter[str] = Counter()
    for result in logs.results:
        value = result.value
        program = logs.programs[result.workflow]
        status, attempts = program.outcome()
        found = (value["status"], value["attempts"])
        as_meant = found == (status, attempts) or value["status"] == "cancelled"  # the model of wishes has a look
        if not as_meant and not (program.plan is not None and took_too_long(program, value)):
            raise Violation(f"{value['run_id']} has {found}, not {(status, attempts)}: {value['error']}")
        first = logs.by_place[result.events[0]]
        if value["run_id"] != keys.run_id(program.id, first):
            raise Violation(f"run {value['run_id']} is not named after its first event {first.hex()}")
        identity = logs.identities[first]
        home = identity.home
        if program.batch_size > 1 and program.batch_by == "workflow":
            home = keys.partition_of(program.id.encode(), logs.sim.partitions)
        if result.partition != home:
            raise Violation(f"{value['run_id']} ended at partition {result.partition}, its home is {home}")
        ids[value["run_id"]] += 1
    doubled = [one for one, count in ids.items() if count > 1]
    if doubled and not logs.sim.tight_dedup:
        raise Violation(f"DOUBLED results: {doubled}")


def took_too_long(program: Program, value: dict[str, Any]) -> bool:
    """Whether a run was ended by its workflow's time."""
    if program.timeout_seconds is None or value["status"] != "failed" or value["error"]["type"] != "WorkflowTimeout":
        return False
    took_ms = milliseconds(value["finished_at"]) - milliseconds(value["started_at"])
    if took_ms < program.timeout_seconds * 1000:
        raise Violation(f"{value['run_id']} was given up after {took_ms} ms")
    return True


def batches_keep_their_bounds(logs: Logs) -> None:
    for result in logs.results:
        program = logs.programs[result.workflow]
        if len(result.events) > program.batch_size:
            raise Violation(
                f"{result.value['run_id']} has {len(result.events)} events, {program.batch_size} are allowed"
            )
        if program.batch_size > 1 and program.batch_by == "key":
            found = {logs.identities[logs.by_place[place]].event.key for place in result.events}
            if len(found) > 1:
                raise Violation(f"{result.value['run_id']} mixes the keys {found}")
        if program.batch_timeout_seconds is not None and len(result.events) < program.batch_size:
            oldest = logs.at(result.events[0]).timestamp_ms + program.batch_timeout_seconds * 1000
            size = sum(logs.at(place).size for place in result.events)
            started = milliseconds(result.value["started_at"])
            if started < int(oldest) and size <= logs.sim.shape.limits.batch_bytes - 150:
                full = logs.sim.shape.limits.batch_bytes < 1_000
                if not full:
                    raise Violation(f"{result.value['run_id']} started {oldest - started} ms before its batch was due")


def replays_see_the_same_events(logs: Logs) -> None:
    if logs.sim.tight_dedup:
        return  # a run's id may come again, with other events in its batch
    recorded = {
        result.value["run_id"]: tuple(
            f"{one['partition']}-{one['offset']}/{one['id']}" for one in result.value["events"]
        )
        for result in logs.results
    }
    # A run that was never journaled may be decided anew; one that was keeps its events.
    for run, seen in logs.sim.seen.journaled.items():
        if run in logs.waiting:
            if len(seen) > 1:
                raise Violation(f"{run} was called with {seen}")
            continue
        if seen - {recorded.get(run)}:
            raise Violation(f"{run} was called with {seen}, its result says {recorded.get(run)}")

"""What runs send out: events, replies, facts."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from app.kafka.log import Entry
from tests.simulation.model.letters import original
from tests.simulation.model.logs import Logs
from tests.simulation.plans import CHAIN
from tests.simulation.violation import Violation
from topics import keys


def what_runs_publish_is_there(logs: Logs) -> None:
    there: Counter[tuple[str, str, str | None]] = Counter()
    for identity in logs.identities.values():
        there[identity.event.id, identity.event.topic, identity.event.key] += 1
    ended = {one.value["run_id"] for one in logs.results if one.value["status"] == "completed"}
    for result in logs.results:
        program = logs.programs[result.workflow]
        for number in range(program.publishes):
            topic, _, key = program.published(number)
            name = keys.published_event_id(result.value["run_id"], f"hop{number}")
            if not there[name, topic, key]:
                raise Violation(f"LOST: {result.value['run_id']} has published {name}, which is not in events")
    for (run, key), event_id in logs.sim.seen.steps.values.items():
        op = logs.op(run, key)
        if op.kind != "publish" or (run not in ended and run not in logs.waiting):
            continue
        if event_id != keys.published_event_id(run, key):
            raise Violation(f"step {key} of {run} published {event_id}")
        if there[event_id, CHAIN, op.event_key] != 1:
            raise Violation(f"LOST or DOUBLED: {run} has published {event_id}, of which there are {there}")


def unjournaled(logs: Logs) -> Iterator[tuple[str, str]]:
    """Return run and key of steps that were asked for, and may be of a round in which their run ended."""
    seen = logs.sim.seen.steps
    return ((run, key) for run, key in seen.asked if run in logs.ended and (run, key) not in seen.steps)


def what_runs_send_is_there(logs: Logs) -> None:
    """A record of a journaled step is on its topic, always with the same bytes; and no other one is."""
    found: defaultdict[bytes, set[tuple[bytes | None, tuple[Any, ...]]]] = defaultdict(set)
    for one in _written(logs):
        if one.key is not None and b"#" in one.key:
            found[one.key].add((one.value, tuple(one.headers)))
    wanted = {f"{run}#{key}".encode() for run, key in logs.sim.seen.steps.steps if logs.op(run, key).kind == "send"}
    perhaps = {f"{run}#{key}".encode() for run, key in unjournaled(logs)}
    if not wanted <= found.keys() <= wanted | perhaps:
        raise Violation(f"LOST or FORGED: runs have sent {wanted}, and there are {found.keys()}")
    for key, forms in found.items():
        if len(forms) > 1:
            raise Violation(f"{key!r} was sent in {len(forms)} forms: {forms}")


def _written(logs: Logs) -> Iterator[Entry]:
    """Yield what was written for others, where too much waited as a dead letter."""
    for one in logs.sim.cluster.read("replies", 0):
        yield Entry(one.key, one.value, one.headers)
    for letter in logs.letters:
        if letter["code"] == "topic_away":
            key, value = (original(letter[one], letter["encoding"][one]) for one in ("key", "value"))
            names = zip(letter["headers"], letter["encoding"]["headers"], strict=True)
            yield Entry(key, value, [(name, original(text, encoding)) for (name, text), encoding in names])


def replies_are_there(logs: Logs) -> None:
    found = Counter(
        (dict(one.headers)["run_id"], dict(one.headers).get("correlation_id"))
        for one in _written(logs)
        if any(name == "run_id" for name, _ in one.headers)
    )
    for result in logs.results:
        for place in result.events:
            event = logs.at(place)
            name = result.value["run_id"].encode()
            correlation = None if event.correlation_id is None else event.correlation_id.encode()
            if event.reply_topic == "replies" and not found[name, correlation]:
                raise Violation(f"LOST: no reply of {result.value['run_id']} to {event.correlation_id}")


def facts_match_results(logs: Logs) -> None:
    finished = Counter(one["run_id"] for one in logs.facts() if one["fact"] == "run_finished")
    started = Counter(one["run_id"] for one in logs.facts() if one["fact"] == "run_started")
    if logs.sim.tight_dedup:
        return
    ended = {result.value["run_id"] for result in (*logs.results, *logs.ticks)}
    for run, count in started.items():
        if count > 1:
            raise Violation(f"DOUBLED: {count} facts say that {run} started")
        if run in logs.waiting:
            if finished[run] or run in ended:
                raise Violation(f"{run} has finished, and waits")
            continue
        if finished[run] != 1:
            raise Violation(f"{finished[run]} facts say that {run} finished")
        if run not in ended:
            raise Violation(f"LOST: {run} started and has no result")
    for run in finished:
        if run not in started:
            raise Violation(f"{run} finished, but no fact says that it started")

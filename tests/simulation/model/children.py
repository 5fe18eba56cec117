"""Runs that runs started: each once, none without its step; and their parents were told what they came to."""

from collections.abc import Iterator
from typing import Any

import orjson

from app.engine.runs import parents
from tests.simulation.model.logs import Logs
from tests.simulation.model.outputs import unjournaled
from tests.simulation.model.steps import was_refused
from tests.simulation.programs import NOWHERE
from tests.simulation.violation import Violation
from tests.simulation.watch import Journaled
from topics import keys
from topics.reserved import START, start_topic


def each_child_was_started_and_its_parent_told(logs: Logs) -> None:
    children: set[bytes] = set()
    for (run, key), step in logs.sim.seen.steps.steps.items():
        op = logs.op(run, key)
        if not op.children or was_refused(step):  # what that would have started is forged
            continue
        digests = [_digest(run, key, n) for n in range(len(op.children))]
        for workflow, digest in zip(op.children, digests, strict=True):
            identity = logs.identities.get(digest)
            if identity is None or identity.event.topic != start_topic(workflow):
                raise Violation(f"LOST: step {key} of {run} started {workflow}, and its event is not there")
        children.update(digests)
        ids = [keys.run_id(one, digest) for one, digest in zip(op.children, digests, strict=True)]
        if not op.calls:
            if step.outcome is None or step.outcome.get("v") != ids:
                raise Violation(f"step {key} of {run} has started {ids}, and came to {step.outcome}")
            continue
        _it_was_told(logs, run, key, step, [_came_to(logs, *one) for one in zip(ids, digests, strict=True)])
    children |= set(_of_the_same_round(logs))
    for digest, identity in logs.identities.items():
        topic = identity.event.topic
        if topic.startswith(START) and digest not in children and not identity.event.id.endswith("#failed"):
            raise Violation(f"FORGED: no step has started {identity.event}")


def _of_the_same_round(logs: Logs) -> Iterator[bytes]:
    """Return the children of steps that no journal tells of, for their runs ended in the round that began them."""
    for run, key in unjournaled(logs):
        op = logs.op(run, key)
        digests = [_digest(run, key, n) for n in range(len(op.children))]
        there = [one in logs.identities for one in digests]
        if any(there) and not all(there):
            raise Violation(f"LOST: step {key} of {run} has started some of its runs alone: {there}")
        yield from digests


def _digest(run: str, key: str, n: int) -> bytes:
    return keys.event_digest(f"headgate/{run.partition(':')[0]}", None, keys.child_event_id(run, key, n))


def _it_was_told(logs: Logs, run: str, key: str, step: Journaled, came_to: list[Any]) -> None:
    if step.outcome is None:
        if run in logs.waiting and None not in came_to:
            raise Violation(f"MISSED: step {key} of {run} waits still, though its children came to {came_to}")
        return
    told = step.outcome["v"]
    if len(told) != len(came_to):
        raise Violation(f"step {key} of {run} was told {told} of {len(came_to)} children")
    for found, meant in zip(told, came_to, strict=True):
        fits = found == meant
        if meant is not None and meant["status"] == "failed" and "message" not in meant["error"]:  # a dead letter
            fits = found["status"] == "failed" and found["error"]["type"] == meant["error"]["type"]
        if not fits:
            raise Violation(f"step {key} of {run} was told {found}, and its child came to {meant}")


def _came_to(logs: Logs, run: str, digest: bytes) -> dict[str, Any] | None:
    """Return what a child came to, None if it goes on."""
    result = logs.ended.get(run)
    identity = logs.identities[digest]
    places = [{"topic": "headgate.events", "partition": one.partition, "offset": one.offset} for one in identity.copies]
    letters = [
        one["code"]
        for one in logs.letters
        if one["run_id"] is None and any(one["source"].items() >= place.items() for place in places)
    ]
    if result is not None:
        value = result.value
        if letters:
            raise Violation(f"{run} has a result, and dead letters {letters}")
        if value["status"] == "completed":
            return {"status": "completed", "result": value["result"]}
        error = {name: value["error"][name] for name in ("type", "message")}
        return {"status": value["status"], "error": error}
    if not letters:
        if run.startswith(f"{NOWHERE}:"):
            raise Violation(f"LOST: {run} is of no workflow, and there is no dead letter")
        if run not in logs.waiting:
            raise Violation(f"LOST: child {run} has neither ended, nor does it wait")
        return None
    was_known = orjson.loads(dict(identity.event.raw_headers)[parents.HEADER] or b"")[5]
    if was_known and "no_such_workflow" in letters:
        raise Violation(f"LOST: the workflow of {run} was known to its parent, and its event is a dead letter")
    return {"status": "failed", "error": {"type": letters[0]}}

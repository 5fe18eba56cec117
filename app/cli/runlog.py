"""Runs as Kafka holds them, for when no gateway is there to ask: results, and the facts of runs that are under way.

This reads both topics from their beginning. The gateway keeps an index of the same records and answers at once.
"""

from collections import defaultdict
from typing import Any

import orjson

from app.cli import output
from app.cli.cluster import Cluster
from app.kafka.records import Reader, Record
from topics import catalog, told

_SUMMARY = (
    "run_id", "workflow_id", "workflow_version", "status", "key", "started_at", "finished_at", "attempts", "error",
)  # fmt: skip


def summaries(
    cluster: Cluster, *, workflow: str | None, status: str | None, key: str | None, limit: int
) -> list[dict[str, Any]]:
    """Runs without their results, newest first, in the form of `GET /api/v1/runs`."""
    runs = dict[str, dict[str, Any]]()
    heard = defaultdict[str, told.Listener](told.Listener)
    for record in _records(cluster, "runs"):
        fact = _object(record)
        name = fact.get("run_id")
        if isinstance(name, str):
            heard[name].hear(fact)
            runs[name] = _after(runs.get(name, {}), fact) | {"status": heard[name].status}
    for record in _records(cluster, "results"):
        result = _object(record)
        name = result.get("run_id")
        if isinstance(name, str):
            runs[name] = {field: result.get(field) for field in _SUMMARY}
    wanted = [
        run
        for run in runs.values()
        if (workflow is None or run.get("workflow_id") == workflow)
        and (status is None or run.get("status") == status)
        and (key is None or run.get("key") == key)
    ]
    wanted.sort(key=lambda run: str(run.get("started_at") or ""), reverse=True)
    return wanted[:limit]


def one(cluster: Cluster, run_id: str) -> dict[str, Any] | None:
    """A run with its result and its facts, in the form of `GET /api/v1/runs/{id}`; None where Kafka has neither."""
    wanted = run_id.encode()
    facts = [_object(record) for record in _records(cluster, "runs") if record.key == wanted]
    results = [_object(record) for record in _records(cluster, "results") if record.key == wanted]
    steps = told.steps_of(facts)
    if results:
        return {"run": results[-1], "steps": steps, "facts": facts}
    if not facts:
        return None
    run: dict[str, Any] = {}
    listener = told.Listener()
    for fact in facts:
        listener.hear(fact)
        run = _after(run, fact)
    return {"run": run | {"status": listener.status}, "steps": steps, "facts": facts}


def _records(cluster: Cluster, name: str) -> Any:
    topic = catalog.qualified(cluster.kafka.prefix, name)
    with Reader(cluster.kafka, cluster.admin, topic, from_start=True) as reader, output.progress(topic) as show:
        for number, record in enumerate(reader.existing(), 1):
            if number % 1000 == 0:
                show(number)
            yield record


def _after(run: dict[str, Any], fact: dict[str, Any]) -> dict[str, Any]:
    """The summary of a run after one more fact about it, but for its status."""
    run = dict.fromkeys(_SUMMARY) | run
    if str(fact.get("fact")).startswith("step_"):
        return run | {name: fact.get(name) for name in ("run_id", "workflow_id")}
    run |= {field: fact[field] for field in _SUMMARY if fact.get(field) is not None}
    match fact.get("fact"):
        case "run_started":
            run["started_at"] = fact.get("at")
        case "run_retried":
            run["attempts"] = fact.get("attempt")
        case "run_finished":
            run["finished_at"] = fact.get("at")
    return run


def _object(record: Record) -> dict[str, Any]:
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}

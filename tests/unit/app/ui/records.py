"""Records of Headgate's topics as the read model takes them, and what it lists then."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from app.ui.readmodel import ReadModel, Source

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    value: bytes | None
    offset: int = 0
    partition: int = 0


@dataclass(frozen=True)
class Identity:
    cluster_id: str = "cluster"
    topic_id: str = "topic"


@dataclass(frozen=True)
class State:
    identity: Identity | None = field(default_factory=Identity)
    end: Mapping[int, int] = field(default_factory=lambda: {0: 1_000, 1: 1_000})


Open = Callable[..., Any]


def at(seconds: int) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def result(run_id: str, *, finished: int = 0, offset: int = 0, partition: int = 0, **fields: Any) -> Record:
    record = {
        "run_id": run_id,
        "workflow_id": run_id.partition(":")[0],
        "workflow_version": "1",
        "status": "completed",
        "result": {"n": 1},
        "error": None,
        "events": [{"id": "e", "topic": "t", "partition": 0, "offset": 0}],
        "key": None,
        "started_at": at(finished),
        "finished_at": at(finished),
        "attempts": 1,
    } | fields
    return Record(orjson.dumps(record), offset, partition)


def fact(name: str, run_id: str, *, when: int, offset: int = 0, **fields: Any) -> Record:
    record = {"fact": name, "run_id": run_id, "workflow_id": "w", "at": at(when)} | fields
    return Record(orjson.dumps(record), offset)


async def take(model: ReadModel, source: Source, *records: Record) -> None:
    await model.take_from(source)(records)


async def listed(model: ReadModel, **asked: Any) -> list[str]:
    found, _ = await model.runs(**asked)
    return [run["run_id"] for run in found]


def waiting(*run_ids: str, offset: int = 0, **fields: Any) -> list[Record]:
    """Return the facts of runs that began and wait for a decision."""
    return [
        one
        for n, run_id in enumerate(run_ids)
        for one in (
            fact("run_started", run_id, when=-200, offset=offset + 2 * n),
            fact("step_waiting", run_id, when=-200, offset=offset + 2 * n + 1, step="a", **fields),
        )
    ]

"""What every peer does, and how it is started: `python -m benchmarks.sides.<name> --bootstrap … --input … …`.

Same work for every side: read the event, drop it if its id was seen, call one handler that returns a small dict,
produce one JSON record with the result. Headgate does it in `headgate_workflows.py`.
"""

import argparse
import gc
import logging
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson


class Profile(Enum):
    """What the side is tuned for: most events per second, or the shortest way from event to result."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The uniform command line of a side."""

    bootstrap: str
    input: str
    results: str
    group: str
    partitions: int
    expected: int
    profile: Profile
    variant: str


def arguments() -> Arguments:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="One side of the benchmark; started by `python -m benchmarks`.")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--group", required=True)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--expected", type=int, default=0)
    parser.add_argument("--profile", type=Profile, choices=list(Profile), default=Profile.THROUGHPUT)
    parser.add_argument("--variant", default="")
    return Arguments(**vars(parser.parse_args()))


def decode(value: bytes) -> dict[str, Any]:
    """Return the event in `value`."""
    event: dict[str, Any] = orjson.loads(value)
    return event


def handle(event: dict[str, Any]) -> dict[str, Any]:
    """The handler: looks into the data and returns a small dict."""
    data = event["data"]
    return {"order": data["order"], "total": data["quantity"] * data["price"]}


def result(event: dict[str, Any], returned: dict[str, Any], *, topic: str, partition: int, offset: int) -> bytes:
    """Return the result record of `event`; the fields that a reader of results needs, as Headgate names them."""
    return orjson.dumps(
        {
            "run_id": "bench_created:" + event["id"],
            "workflow_id": "bench_created",
            "status": "completed",
            "result": returned,
            "events": [{"id": event["id"], "topic": topic, "partition": partition, "offset": offset}],
            "key": event["key"],
        }
    )


def tune() -> None:
    """Quiet logs and a collector that rarely runs: what helps every Python side alike (measured)."""
    logging.basicConfig(level=logging.WARNING)
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)

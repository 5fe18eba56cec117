"""The kinds of sources that are measured: their options, where their events come from, and how many keep each busy.

Called by `benchmarks.connectors`. Events come from `benchmarks.outside`, the broker itself, redis-server or a folder.
"""

import itertools
import json
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks import catalog, events, outside, processes

SKIPPED: Final = {
    "cron": "at most one event a second is due: there is no rate to measure",
    "slack": "Slack decides about the rate, 30,000 events an hour at most",
    "discord": "Discord decides about the rate",
    "sqs, sns, s3, gcs, pubsub": "their clouds decide about the rate; emulators are slower than what reads them",
}
"""Kinds that are not measured, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source: its options at a world outside, how events are made there, and how many keep it busy."""

    name: str
    title: str
    options: Callable[["Round"], Mapping[str, Any]]
    make: Callable[["Round", str, int], None]
    events: int
    quick_events: int
    counts_from_begin: bool = False
    """The rate counts from when the events were begun to be made: they are all found at a time."""
    needs: str = ""
    """A program of the system."""


@dataclass(slots=True, kw_only=True)
class Round:
    """What one kind stands on in one round."""

    stage: catalog.Stage
    world: processes.Child
    port: int
    redis_port: int = 0

    @property
    def url(self) -> str:
        """Of the world outside."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def inbox(self) -> Path:
        """The folder that is watched."""
        return self.stage.folder / "inbox"

    @property
    def elsewhere(self) -> str:
        """The topic that a `kafka` source reads."""
        return self.stage.prefix + "elsewhere"

    def go(self, run: str, count: int, **more: float) -> dict[str, Any]:
        """Let the world make events."""
        query = urlencode({"run": run, "count": count, **more})
        with urllib.request.urlopen(f"{self.url}/go?{query}", timeout=300) as answer:
            said: dict[str, Any] = json.load(answer)
            return said


# ---- how events are made ---------------------------------------------------------------------------------------------


def _over_sockets(given: Round, run: str, count: int) -> None:
    given.go(run, count)


def _files(given: Round, run: str, count: int) -> None:
    for number, (_, value) in enumerate(events.events(run, 0, count)):
        (given.inbox / f"{outside.identity(run, number)}.json").write_bytes(value)


def _records(given: Round, run: str, count: int) -> None:
    command = processes.python("benchmarks.load", "full", "--bootstrap", given.stage.broker.bootstrap)
    command += ["--topic", given.elsewhere, "--run", run, "--count", str(count)]
    processes.Child(f"load-{run}", command, cwd=given.stage.folder, talks=True).answer(timeout_seconds=120)


def _entries(given: Round, run: str, count: int) -> None:
    from redis import Redis

    with Redis(port=given.redis_port) as client:
        made = events.events(run, 0, count)
        while part := list(itertools.islice(made, 1_000)):
            pipeline = client.pipeline(transaction=False)
            for _, value in part:
                pipeline.xadd("orders", {"data": value})
            pipeline.execute()


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            name="websocket",
            title="WebSocket",
            options=lambda given: {"url": f"ws://127.0.0.1:{given.port}/socket", "id_pointer": "/id"},
            make=_over_sockets,
            events=300_000,
            quick_events=20_000,
        ),
        Kind(
            name="http-stream",
            title="server-sent events",
            options=lambda given: {"url": f"{given.url}/stream"},
            make=_over_sockets,
            events=300_000,
            quick_events=20_000,
        ),
        Kind(
            name="poll",
            title="HTTP polls, pages of 1,000",
            options=lambda given: {
                "interval": 0.2,
                "max_pages": 10_000,
                "rest": {
                    "url": f"{given.url}/items",
                    "cursor": {"by": "id", "field": "id", "parameter": "from"},
                    "paging": {"by": "cursor"},
                },
            },
            make=_over_sockets,
            events=100_000,
            quick_events=5_000,
        ),
        Kind(
            name="rss",
            title="RSS, one feed with all entries",
            options=lambda given: {"url": f"{given.url}/feed", "interval": 0.5},
            make=_over_sockets,
            events=5_000,  # more would be above the 8 MiB that a feed may have
            quick_events=1_000,
            counts_from_begin=True,
        ),
        Kind(
            name="file",
            title="files, with what is in them",
            options=lambda given: {"path": str(given.inbox), "content": "json", "interval": 0.5, "settle": 0.2},
            make=_files,
            events=30_000,
            quick_events=1_000,
            counts_from_begin=True,
        ),
        Kind(
            name="kafka",
            title="topic of another cluster",
            options=lambda given: {
                "bootstrap": [given.stage.broker.bootstrap],
                "topics": [given.elsewhere],
                "start": "earliest",
            },
            make=_records,
            events=300_000,
            quick_events=20_000,
        ),
        Kind(
            name="redis",
            title="Redis Streams",
            options=lambda given: {
                "url": f"redis://127.0.0.1:{given.redis_port}/0",
                "streams": ["orders"],
                "data_field": "data",
                "batch": 1_000,
            },
            make=_entries,
            events=100_000,
            quick_events=10_000,
            needs="redis-server",
        ),
    )
}

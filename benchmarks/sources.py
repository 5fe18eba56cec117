"""The kinds of sources that are measured: their options, where their events come from, and how many keep each busy.

Called by `benchmarks.connectors`. Events come from `benchmarks.outside`, the broker itself, redis-server, a folder or a
table. What a peer of the real world decides, the rate, is not what is measured: that is how fast its events are taken.
"""

import itertools
import json
import sqlite3
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks import catalog, clouds, events, outside, processes

CRON: Final = "cron"
"""Measured by `benchmarks.connectors` alone: nobody makes its events."""
WEBHOOK: Final = "webhook"
"""The same: it is the gateway that receives them."""
SECRET: Final = "{{ env.OUTSIDE_SECRET }}"
"""A secret as options name it: any that the kinds ask for."""
AWS: Final = {"region": "eu-west-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": SECRET}
LISTING: Final = {"mode": "list", "bucket": "uploads", "content": "json", "interval": 0.5}
SUBSCRIPTION: Final = clouds.SUBSCRIPTIONS.removeprefix("/v1/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of source: its options at a world outside, how events are made there, and how many keep it busy."""

    name: str
    title: str
    kind: str = ""
    """As sources name it; empty: its own name."""
    options: Callable[["Round"], Mapping[str, Any]]
    make: Callable[["Round", str, int], None]
    events: int
    quick_events: int
    counts_from_begin: bool = False
    """The rate counts from when the events were begun to be made: they are all found at a time."""
    needs: str = ""
    """A program of the system."""
    acknowledges: bool = False
    """The world counts what is acknowledged to it."""

    @property
    def is_of_world(self) -> bool:
        """Whether `benchmarks.outside` is its peer."""
        return self.make is _in_world


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
    def database(self) -> Path:
        """The file whose table is polled."""
        return self.stage.folder / "shop.db"

    @property
    def elsewhere(self) -> str:
        """The topic that a `kafka` source reads."""
        return self.stage.prefix + "elsewhere"

    def go(self, run: str, count: int, **more: float) -> dict[str, Any]:
        """Let the world make events."""
        query = urlencode({"run": run, "count": count, **more})
        return self._asked(f"/go?{query}")

    def acknowledged(self) -> int:
        """Return how many events were acknowledged to the world."""
        return int(self._asked("/")["acknowledged"])

    def _asked(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=300) as answer:
            said: dict[str, Any] = json.load(answer)
            return said


# ---- how events are made ---------------------------------------------------------------------------------------------


def _in_world(given: Round, run: str, count: int) -> None:
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


def create_table(path: Path) -> None:
    """Make the table that is polled."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, id TEXT, data TEXT)")


def _rows(given: Round, run: str, count: int) -> None:
    made = ((outside.identity(run, number), value) for number, (_, value) in enumerate(events.events(run, 0, count)))
    with closing(sqlite3.connect(given.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO orders (id, data) VALUES (?, ?)", ((one, row.decode()) for one, row in made)
        )


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            name="websocket",
            title="WebSocket",
            options=lambda given: {"url": f"ws://127.0.0.1:{given.port}/socket", "id_pointer": "/id"},
            make=_in_world,
            events=300_000,
            quick_events=20_000,
        ),
        Kind(
            name="http-stream",
            title="server-sent events",
            options=lambda given: {"url": f"{given.url}/stream"},
            make=_in_world,
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
            make=_in_world,
            events=100_000,
            quick_events=5_000,
        ),
        Kind(
            name="poll-sqlite",
            title="polls of a SQLite table, pages of 1,000",
            kind="poll",
            options=lambda given: {
                "interval": 0.2,
                "max_pages": 10_000,
                "sql": {
                    "database": f"sqlite:///{given.database}",
                    "table": "orders",
                    "column": "number",
                    "limit": 1_000,
                },
            },
            make=_rows,
            events=100_000,
            quick_events=5_000,
        ),
        Kind(
            name="rss",
            title="RSS, one feed with all entries",
            options=lambda given: {"url": f"{given.url}/feed", "interval": 0.5},
            make=_in_world,
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
        Kind(
            name="slack",
            title="Slack, Socket Mode",
            options=lambda given: {"app_token": SECRET, "api_url": f"{given.url}/slack/"},
            make=_in_world,
            events=100_000,
            quick_events=5_000,
            acknowledges=True,
        ),
        Kind(
            name="discord",
            title="Discord's gateway",
            options=lambda given: {"token": SECRET, "api_url": f"{given.url}/discord"},
            make=_in_world,
            events=100_000,
            quick_events=5_000,
        ),
        Kind(
            name="sqs",
            title="SQS",
            options=lambda given: {"queue_url": f"{given.url}/1/orders", **AWS},
            make=_in_world,
            events=20_000,
            quick_events=2_000,
            acknowledges=True,
        ),
        Kind(
            name="sns",
            title="SNS through SQS",
            options=lambda given: {"queue_url": f"{given.url}/1/topic", "topic_arn": clouds.TOPIC_ARN, **AWS},
            make=_in_world,
            events=20_000,
            quick_events=2_000,
            acknowledges=True,
        ),
        Kind(
            name="s3",
            title="S3, notifications through SQS",
            options=lambda given: {"mode": "queue", "queue_url": f"{given.url}/1/uploads", **AWS},
            make=_in_world,
            events=20_000,
            quick_events=2_000,
            acknowledges=True,
        ),
        Kind(
            name="s3-list",
            title="S3, a listing, with what is in the objects",
            kind="s3",
            options=lambda given: {
                **LISTING,
                "endpoint_url": given.url,
                **AWS,
            },
            make=_in_world,
            events=5_000,
            quick_events=1_000,
            counts_from_begin=True,
        ),
        Kind(
            name="pubsub",
            title="Pub/Sub",
            options=lambda given: {
                "subscription": f"{SUBSCRIPTION}orders",
                "endpoint_url": given.url,
                "anonymous": True,
            },
            make=_in_world,
            events=100_000,
            quick_events=5_000,
            acknowledges=True,
        ),
        Kind(
            name="gcs",
            title="Cloud Storage, notifications through Pub/Sub",
            options=lambda given: {
                "mode": "queue",
                "subscription": f"{SUBSCRIPTION}uploads",
                "pubsub_endpoint_url": given.url,
                "anonymous": True,
            },
            make=_in_world,
            events=100_000,
            quick_events=5_000,
            acknowledges=True,
        ),
        Kind(
            name="gcs-list",
            title="Cloud Storage, a listing, with what is in the objects",
            kind="gcs",
            options=lambda given: {
                **LISTING,
                "endpoint_url": given.url,
                "anonymous": True,
            },
            make=_in_world,
            events=5_000,
            quick_events=1_000,
            counts_from_begin=True,
        ),
    )
}

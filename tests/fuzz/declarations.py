"""What declares a source: entries, files of YAML, secrets, URLs of databases."""

import datetime as dt
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from connectors.base.kinds import declared
from connectors.base.kinds.declared import DeclarationError
from connectors.base.texts import secrets
from connectors.poll.place import place_of
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, named
from topics import sources

ENTRIES: Final[tuple[Any, ...]] = (
    {"id": "feed", "kind": "rss", "options": {"url": "https://a.example/", "interval": "10m"}, "filter": {"type": "x"}},
    {
        "id": "clock",
        "kind": "cron",
        "options": {"schedule": "*/5 * * * *", "timezone": "Europe/Berlin"},
        "paused": True,
    },
    {"id": "sse", "kind": "http-stream", "options": {"url": "https://a.example/s", "headers": {"A": "{{ env.A }}"}}},
    {
        "id": "ticks",
        "kind": "websocket",
        "options": {"url": "wss://a.example/", "subscribe": [{"message": {"op": "sub"}, "answer": {"data.ok": True}}]},
        "reconnect": {"max_seconds": 120},
        "topic": "ticks/{{ type }}",
        "key": "{{ data.id }}",
    },
    {"id": "hook", "kind": "webhook", "options": {"provider": "github", "secret": "{{ file.github }}"}},
    {"id": "bot", "kind": "slack", "options": {"app_token": "{{ env.T }}", "events": ["message"]}},
    {
        "id": "dc",
        "kind": "discord",
        "options": {"token": "{{ env.T }}", "intents": ["guild_messages"], "shard": [0, 2]},
    },
    {"id": "api", "kind": "poll", "options": {"rest": {"url": "https://a.example/x", "cursor": {"by": "id"}}}},
    {"id": "files", "kind": "file", "options": {"path": "/data/in", "patterns": ["*.csv"]}},
    {"id": "r", "kind": "redis", "options": {"url": "redis://h:6379/0", "streams": ["orders"]}},
    {"id": "q", "kind": "sqs", "options": {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"}},
    {"id": "s3", "kind": "s3", "options": {"mode": "list", "bucket": "uploads", "content": "auto"}},
    {"id": "ps", "kind": "pubsub", "options": {"subscription": "projects/p1/subscriptions/orders", "anonymous": True}},
    {"id": "k", "kind": "kafka", "options": {"bootstrap": ["h:9092"], "topics": ["orders"], "type": "{{ topic }}"}},
)
FILE: Final = Path("sources.yaml")


def strange(draw: Mutator) -> Any:
    """What YAML knows and JSON does not is among it."""
    kinds = (
        float("nan"),
        float("inf"),
        dt.date(2026, 6, 1),
        dt.datetime(2026, 6, 1, tzinfo=dt.UTC),
        b"\xff",
        {1: 2},
        {"a"},
        (1,),
        10**30,
    )
    return draw.pick(kinds) if draw.happens(0.15) else draw.anything()


def entry(draw: Mutator) -> Any:
    return draw.value(ENTRIES, strange=lambda: strange(draw))


def check_entry(given: Any) -> str:
    try:
        spec = declared._checked(FILE, "a", 0, given)
    except DeclarationError as error:
        return named(error)
    return written(spec)


def written(spec: sources.Spec) -> str:
    """What a file declares goes to the topic `triggers`, and is the same when it is read there."""
    value = sources.configured(spec).value
    assert value is not None
    assert sources.spec_of(value).digest == spec.digest
    secrets.names(spec.options)
    return spec.kind


DOCUMENTS: Final = tuple(
    yaml.safe_dump({"sources": list(ENTRIES[at : at + 2])}).encode() for at in range(0, len(ENTRIES), 2)
)
YAML_WORDS: Final = (
    *(
        b"\n",
        b"\n  ",
        b"- ",
        b": ",
        b"#",
        b"&a ",
        b"*a",
        b"!!binary ",
        b"!!python/object:os.system ",
        b"!!set {a}",
        b"<<: ",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b"'",
        b'"',
        b"|\n",
        b">-\n",
        b"? ",
        b"---\n",
        b"...\n",
        b"%YAML 9.9\n",
        b"\t",
        b"~",
        b".nan",
    ),
    *(
        b"0x1F",
        b"0o17",
        b"1_000",
        b"12:30:45",
        b"2026-06-01",
        b"yes",
        b"\xff",
        b"\x00",
        b"\xc2\x85",
        b"\xef\xbb\xbf",
        b"[" * 200,
    ),
    *(
        b'"\\ud800"',
        b'"\\x00"',
        b"!!timestamp 2026-99-99",
        b"!!float x",
        b"!!int ''",
        b"!!bool x",
        b"=",
        b"!!str",
        b"@",
        b"`",
    ),
)


def document(draw: Mutator) -> bytes:
    return draw.raw(DOCUMENTS, YAML_WORDS, most=3)


_folder: list[tuple[int, Path]] = []


def _file() -> Path:
    """A file of this process, whose folder goes with it."""
    if not _folder or _folder[0][0] != os.getpid():
        _folder[:] = [(os.getpid(), Path(tempfile.mkdtemp(prefix="headgate-fuzz-")) / FILE)]
    return _folder[0][1]


def check_document(given: bytes) -> str:
    file = _file()
    file.write_bytes(given)
    try:
        specs = declared.read([file])
    except DeclarationError as error:
        return named(error)
    for spec in specs:
        written(spec)
    return "declared"


NAMED: Final[tuple[Any, ...]] = (
    {
        "a": "{{ env.A }}",
        "b": ["x{{ file.token }}y", {"c": "{{env.HEADGATE_X}}"}],
        "d": "{{ file.../etc/passwd }}",
        "e": 1,
    },
    "{{ env.B }}",
)
ENVIRONMENT: Final = {"A": "1", "B": "{{ env.A }}", "C": "\udcff"}


def secret(draw: Mutator) -> Any:
    return draw.value(NAMED)


def check_secret(given: Any) -> str:
    names = secrets.names(given)
    try:
        made, found = secrets.resolve(
            given, environment=secrets.Variables(of_process=ENVIRONMENT), folder=Path(tempfile.gettempdir())
        )
    except secrets.UnknownSecret as error:
        return named(error)
    assert names or made == given
    return "resolved" if found else "plain"


DATABASES: Final = (
    *("postgresql://user:pa%20ss@host:5433/name?sslmode=verify-full", "sqlite:///var/lib/x.db", "postgres://u@[::1]/d"),
    *("postgresql://u:p@h:99999/d", "sqlite:////x", "postgresql:///d?host=/tmp"),
)


def database(draw: Mutator) -> str:
    return draw.text(DATABASES)


def check_database(given: str) -> str:
    try:
        found = place_of(given)
    except ValueError as error:
        return named(error)
    return "file" if found.file is not None else "server"


TARGETS: Final = (
    Target(name="declared-sources", make=entry, check=check_entry),
    Target(name="declared-yaml", make=document, check=check_document, cost=20, chunk=100),
    Target(name="secrets", make=secret, check=check_secret),
    Target(name="database-urls", make=database, check=check_database),
)

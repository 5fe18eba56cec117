"""What all sources and workflows share: events in every form, schedules, templates, filters, declarations."""

import datetime as dt
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any, Final

import yaml

from connectors import cron as cron_source
from connectors.base.contract import Received
from connectors.base.instance.events import Maker, NotAnEvent
from connectors.base.kinds import declared
from connectors.base.kinds.declared import DeclarationError, UnsuitableSource
from connectors.base.texts import secrets, templates
from connectors.base.texts.durations import parse as duration
from connectors.base.texts.filters import Filter, FilterError, FilterFailed
from connectors.base.texts.templates import Template, TemplateError
from connectors.poll.place import place_of
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import AT_MS, MOST_BYTES, Target, landed, named
from topics import codec, cron, patterns, sources
from topics.malformed import Malformed
from topics.patterns import Pattern, PatternError
from topics.timestamps import milliseconds

# ---- events ----------------------------------------------------------------------------------------------------------

FORMS: Final[tuple[Any, ...]] = (
    {"topic": "orders/created", "data": {"order_id": 42}, "id": "o-42", "key": "c-7", "event_type": "created"},
    {"topic": "orders/created", "data": None, "created_at": "2026-06-01T12:00:00.250Z"},
    {"name": "orders.created", "payload": [1, 2.5, "x"], "id": None},
    {"data": {"a": {"b": [1]}}, "id": "x"},
    {"specversion": "1.0", "id": "7", "source": "/shop", "type": "sold", "subject": "orders/sold", "data": {"n": 1}},
    {
        "specversion": "1.0",
        "id": "8",
        "source": "urn:x",
        "type": "t",
        "topic": "a",
        "data_base64": "eyJhIjogMX0=",
        "datacontenttype": "application/json",
        "partitionkey": "k",
        "time": "2026-06-01T12:00:00+02:00",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "text",
)
HEADERS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "topic": (b"orders/created", b"", " ü".encode()),
    "content-type": (b"application/json", b"application/cloudevents+json; charset=utf-8", b"text/plain", b"image/png"),
    "traceparent": (b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", b"ff-00"),
    "reply_topic": (b"replies", b"", b"__x"),
    "correlation_id": (b"c-1", b"\xff"),
    "source": (b"/shops/1", b""),
    "key": (b"k", b""),
    "id": (b"i", b""),
    "event_type": (b"t",),
    "ce_specversion": (b"1.0", b"0.3"),
    "ce_id": (b"7", b""),
    "ce_source": (b"/shop",),
    "ce_type": (b"sold",),
    "ce_subject": (b"orders/sold",),
    "ce_time": (b"2026-06-01T12:00:00Z", b"now"),
    "ce_\u00fc": (b"x",),
    "other": (b"\x00",),
}
CE: Final = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject")

Bytes = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def record(draw: Mutator) -> Bytes:
    names = [draw.pick(list(HEADERS)) for _ in range(draw.pick((0, 0, 1, 2, 4)))]
    headers: list[tuple[str, bytes | None]] = [(name, draw.raw(HEADERS[name], most=1)) for name in names]
    if draw.happens(0.03):
        headers *= 200
    if draw.happens(0.03):
        headers.append((draw.pick(list(HEADERS)), None))
    return (
        draw.json(FORMS) if draw.happens(0.98) else None,
        draw.pick((None, None, b"k", b"\xff", b"r_x" * 500)),
        headers,
    )


def cloud_record(draw: Mutator) -> Bytes:
    headers: list[tuple[str, bytes | None]] = [(name, HEADERS[name][0]) for name in CE if draw.happens(0.95)]
    headers += [(name, draw.raw(HEADERS[name])) for name in HEADERS if draw.happens(0.1)]
    return draw.json(FORMS) if draw.happens(0.9) else None, draw.pick((None, b"k", b"\xff")), headers


def check_record(given: Bytes) -> str:
    value, key, headers = given
    try:
        event = codec.decode(value, key, headers, partition=3, offset=9, timestamp_ms=AT_MS, max_bytes=MOST_BYTES)
    except Malformed as error:
        named(error)
        return error.code
    assert event.topic
    payload = event.payload()
    try:
        made_key, made, made_headers = codec.produce_form(
            event.topic, event.data, event_type=event.event_type, event_id=event.id, key=event.key,
            created_at=event.created_at, source=event.source, traceparent=event.traceparent,
        )  # fmt: skip
    except Malformed as error:
        return f"again: {error.code}"
    again = codec.decode(made, made_key, made_headers, partition=3, offset=9, timestamp_ms=AT_MS, max_bytes=None)
    assert again.payload() == payload
    assert (again.source, again.traceparent) == (event.source, event.traceparent)
    return "event"


RECEIVED: Final[tuple[Any, ...]] = (
    {"n": 1, "author": {"bot": False, "id": "7"}, "text": "!help me", "tags": ["a", "b"], "price": 12.5},
    [1, "a", None],
    "text",
    None,
)
MOMENTS: Final = (
    None,
    dt.datetime(2026, 6, 1, tzinfo=UTC),
    dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14))),
    dt.datetime.max.replace(tzinfo=dt.timezone(-dt.timedelta(hours=14))),
    dt.datetime(1, 1, 1, tzinfo=UTC),
    dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)


def received(draw: Mutator) -> tuple[str, str, Any, str | None, int]:
    return (
        draw.text(("id-1", "x" * 500)) or "i",
        draw.text(("message", "a/b", "")),
        draw.value(RECEIVED),
        draw.pick((None, draw.text(("k", "")))),
        draw.below(len(MOMENTS)),
    )


MAKERS: Final = tuple(
    Maker(sources.Spec(id="src", kind="fuzz", **options), max_bytes=MOST_BYTES)
    for options in (
        {"topic": "x/{{ type }}/{{ data.author.id }}", "key": "{{ data.text }}"},
        {"filter": {"data.price": {"gte": 1}, "data.author.bot": {"not": True}}, "topic": "{{ key }}"},
    )
)


def check_received(given: tuple[str, str, Any, str | None, int]) -> str:
    event_id, event_type, data, key, moment = given
    item = Received(id=event_id, event_type=event_type, data=data, key=key, created_at=MOMENTS[moment])
    word = landed(item)
    for maker in MAKERS:
        try:
            maker.event(item, at_ms=AT_MS)
        except NotAnEvent as why:
            maker.dead_letter(item, why, at_ms=AT_MS)
    return word


SPECS: Final[tuple[Any, ...]] = (
    sources.Spec(
        id="a", kind="rss", options={"url": "https://a.example/"}, filter={"type": "x"}, origin="api"
    ).to_record(),
    {"format": 1, "id": "m1", "source": "a", "body": {"text": "hi"}, "expires_at": "2026-06-01T12:00:00Z"},
    {"format": 1, "kind": "rss", "epoch": "1.0", "at": "2026-06-01T12:00:00Z", "position": {"x": [1]}},
)


def about_source(draw: Mutator) -> bytes:
    return draw.json(SPECS)


def check_about_source(given: bytes) -> str:
    ends = []
    for read in (sources.spec_of, sources.message_of, sources.cursor_of):
        try:
            found = read(given)
        except sources.Unsuitable as error:
            named(error)
            continue
        ends.append(type(found).__name__.lower())
        if isinstance(found, sources.Spec):
            assert sources.spec_of(sources.configured(found).value or b"") == found
            try:
                declared.check(found)
            except UnsuitableSource as error:
                ends[-1] = named(error)
    return ends[0] if ends else "unsuitable"


# ---- schedules -------------------------------------------------------------------------------------------------------

SCHEDULES: Final = (
    *(
        "0 9 * * MON-FRI",
        "*/15 * * * *",
        "0 30 2 29 2 *",
        "5/15 8-18/2 1,15 JAN-MAR 0-7",
        "@daily",
        "@yearly",
        "0 0 31 2 *",
    ),
    *("1h", "90s", "1h30m", "PT1H30M", "P1W", "0.5s", "367d", "2 d"),
)
CRON_WORDS: Final = (
    *(
        "*",
        "/",
        "-",
        ",",
        " ",
        "0",
        "7",
        "59",
        "60",
        "99999999999",
        "MON",
        "jan",
        "L",
        "W",
        "#",
        "?",
        "*/0",
        "5-1",
        "@",
        "@x",
    ),
    *("\u0663", "\u017f", "İ", "\t", "\u3000", "-1", "1-2-3", "//", ",,", "²", "P", "T", "ms", "w", "1e3", "."),
)
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/El_Aaiun")
INSTANTS: Final = (0, AT_MS, 1_774_748_000_000, 1_792_890_000_000, -1, 999, 4_102_444_800_000)


def schedule(draw: Mutator) -> tuple[str, str, int]:
    zone = draw.pick(ZONES) if draw.happens(0.9) else draw.text(ZONES, ("..", "/", "\x00", "posix", "+1", "ü"))
    return draw.text(SCHEDULES, CRON_WORDS), zone, draw.pick(INSTANTS)


def check_schedule(given: tuple[str, str, int]) -> str:
    text, zone, at_ms = given
    try:
        found = cron.parse(text, zone)
    except cron.CronError as error:
        word = named(error)
    else:
        instant = found.next_after(at_ms)
        assert instant > at_ms
        assert instant % 1000 == 0
        latest = found.latest(at_ms, instant + 3_600_000)
        assert latest is not None
        assert instant <= latest <= instant + 3_600_000
        word = "cron"
    try:
        config = cron_source.Config.model_validate({"schedule": text, "timezone": zone})
    except ValueError:
        return word
    assert config.read().next_after(at_ms) > at_ms
    return word if word == "cron" else "interval"


def check_duration(given: str) -> str:
    try:
        seconds = duration(given)
    except ValueError as error:
        return named(error)
    assert 0 <= seconds < 10**20
    return "duration"


def lasting(draw: Mutator) -> str:
    return draw.text(SCHEDULES[7:], CRON_WORDS)


TIMES: Final = (
    *(
        "2026-06-01T12:00:00Z",
        "2026-06-01t12:00:00.123456789z",
        "1969-12-31T23:59:60+00:00",
        "0001-01-01T00:00:00+23:59",
    ),
    *("9999-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2026-06-01 12:00:00Z"),
)


def time(draw: Mutator) -> str:
    return draw.text(TIMES)


def check_time(given: str) -> str:
    try:
        return "past" if milliseconds(given) < AT_MS else "future"
    except ValueError as error:
        return named(error)


# ---- templates, filters, patterns ------------------------------------------------------------------------------------

TEMPLATES: Final = (
    "{{ id }}/{{ type }}",
    "x/{{data.a.b}}/y",
    "{{ data.items.0.sku }}",
    "plain",
    "{{ source.kind }}-{{ key }}",
)
TEMPLATE_WORDS: Final = (
    "{{",
    "}}",
    "{",
    "}",
    " ",
    ".",
    "data",
    "data.a",
    "{{ key }}",
    "0",
    "__class__",
    "$",
    "%s",
    "\x00",
    "ü",
)
SCOPES: Final[tuple[Any, ...]] = (
    {
        "id": "1",
        "type": "t",
        "key": "k",
        "data": {"a": {"b": 1}, "items": [{"sku": "s"}]},
        "source": {"id": "s", "kind": "k"},
    },
    {"id": "1", "type": "t", "key": None, "data": [1, [2], {"a": 10**400}], "source": {}},
)


def template(draw: Mutator) -> tuple[str, Any]:
    return draw.text(TEMPLATES, TEMPLATE_WORDS), draw.value(SCOPES)


def check_template(given: tuple[str, Any]) -> str:
    text, scope = given
    try:
        found = Template.parse(text)
    except TemplateError as error:
        return f"no {named(error)}"
    if not isinstance(scope, Mapping):
        return "no scope"
    try:
        made = found.render(scope)
    except TemplateError as error:
        return named(error)
    assert len(made) <= max(templates.MOST_CHARS, len(text))
    return "rendered"


FILTERS: Final[tuple[Any, ...]] = (
    {"type": ["message_create", "t"], "data.author.bot": {"not": True}, "data.price": {"gte": 10, "lt": 100.5}},
    {"data.text": {"prefix": "!", "contains": "help", "suffix": "e"}, "data.thread": {"exists": False}, "key": None},
    {"any": [{"data.a.b": 1}, {"any": [{"data.items.0.sku": {"contains": "s"}}, {"id": "1"}]}], "source.kind": "k"},
    {"data": {"contains": 1}, "data.0": {"gt": 0}, "data.2.a": {"lte": 1.5}},
)


def condition(draw: Mutator) -> tuple[Any, Any]:
    return draw.value(FILTERS), draw.value(SCOPES)


def check_condition(given: tuple[Any, Any]) -> str:
    conditions, scope = given
    try:
        found = Filter(conditions)
    except FilterError as error:
        return f"no {named(error)}"
    if not isinstance(scope, Mapping):
        return "no scope"
    try:
        return "takes" if found.takes(scope) else "leaves"
    except FilterFailed as error:
        return named(error)


PATTERNS: Final = ("orders/*", "**", "a/**/b", "*.created", "orders/created", "headgate/**", "a.b/c", "**/**")
TOPICS: Final = ("orders/created", "a/x/y/b", "headgate/x", "a.b", "orders", "", "/")


def pattern(draw: Mutator) -> tuple[str, str]:
    words = ("*", "**", "/", ".", "//", "a", "\x00", "\ud800", " ", "headgate/")
    return draw.text(PATTERNS, words), draw.text(TOPICS, words)


def check_pattern(given: tuple[str, str]) -> str:
    text, topic = given
    try:
        found = Pattern.parse(text)
    except PatternError as error:
        return named(error)
    meets = found.matches(topic)
    assert (found.difference(topic) is None) == meets
    assert patterns.head_of(text) is not None
    return "meets" if meets else "differs"


# ---- declarations ----------------------------------------------------------------------------------------------------

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
    kinds = (float("nan"), float("inf"), dt.date(2026, 6, 1), MOMENTS[1], b"\xff", {1: 2}, {"a"}, (1,), 10**30)
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
    Target(name="codec", make=record, check=check_record),
    Target(name="cloudevents", make=cloud_record, check=check_record),
    Target(name="events", make=received, check=check_received),
    Target(name="source-records", make=about_source, check=check_about_source),
    Target(name="cron", make=schedule, check=check_schedule),
    Target(name="durations", make=lasting, check=check_duration),
    Target(name="timestamps", make=time, check=check_time),
    Target(name="templates", make=template, check=check_template),
    Target(name="filters", make=condition, check=check_condition),
    Target(name="patterns", make=pattern, check=check_pattern),
    Target(name="declared-sources", make=entry, check=check_entry),
    Target(name="declared-yaml", make=document, check=check_document, cost=20, chunk=100),
    Target(name="secrets", make=secret, check=check_secret),
    Target(name="database-urls", make=database, check=check_database),
)

"""Writes everything that is generated: `make docs`. With --check it writes nothing and fails when a file is stale.

    docs/reference/settings.md, cli.md    from the settings and the commands
    docs/reference/openapi.json           from the routes of the gateway
    docs/reference/metrics.md             from the metrics of worker, connectors and gateway
    docs/reference/topics.md, schemas/    from the catalog of topics and the schemas of records
    docs/reference/connectors.md          from the kinds of sources (tools/connector_docs.py)
    docs/reference/workflows.md, events.md    tables from what authors import and from the checks of events; what
                                              stands outside `<!-- from the code: … -->` is written by hand
    helm/headgate/                        from the settings and values.yaml

A test calls `stale()`, so that none of it can be forgotten.
"""

import ast
import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast, get_overloads

from prometheus_client.metrics import MetricWrapperBase

from app.cli import reference
from app.gateway import server
from app.gateway.metrics import Metrics
from app.observe.metrics import WorkerMetrics
from app.settings import shown_default
from connectors.base.metrics import SourceMetrics
from headgate import BatchBy, CatchUp, Context, Event, Order, Reject, RetryLater, Schedule, Step, definition, workflow
from headgate.context import Log, Sources
from tools import chart_docs, connector_docs
from topics import catalog, envelope, fields, malformed, schemas

ROOT: Final = Path(__file__).resolve().parents[1]
_FOLDER: Final = Path("docs/reference")
_TOPICS: Final = """\
# Topics

The names have a prefix, `headgate.` unless the setting `kafka.prefix` says otherwise. N is the setting
`kafka.partitions`. `headgate topics apply` creates what is missing, `headgate topics check` compares.
What may be produced to `events` has [a page of its own](events.md).

| topic | meaning | key | record | kept | partitions | largest record | time | written by |
|---|---|---|---|---|---|---|---|---|
{rows}

## Records

All public records are JSON. A record may gain fields; a field never changes its meaning.

{records}
"""


_METRICS: Final = """\
# Metrics

Prometheus text on `/metrics` of the worker (`worker.metrics_port`), of connectors (`connectors.metrics_port`) and of
the gateway. Counters end in `_total` there. `provider` is the kind of a source, `instance` its id.

| metric | type | labels | meaning | of |
|---|---|---|---|---|
{rows}
"""


def generated() -> dict[Path, str]:
    """Every generated file, by its path in the repository, with the text that it must have."""
    chart = {path.resolve().relative_to(ROOT): text for path, text in chart_docs.generate().items()}
    pages = {**reference.pages(), **topics_pages(), **http_pages(), **metrics_page(), **filled_pages()}
    return {**pages, **connectors_page(), **chart}


def topics_pages() -> dict[Path, str]:
    """The catalog of topics as a page, and each record's schema as a file."""
    rows = [
        f"| `{topic.name}` | {topic.meaning} | {topic.key} | {topic.record} | {_kept(topic)} "
        f"| {'N' if topic.co_partitioned else topic.fixed_partitions} | {topic.max_message_bytes // catalog.MIB} MiB "
        f"| {topic.timestamps.value} | {topic.written_by} |"
        for topic in catalog.CATALOG.values()
    ]
    records = [f"- `{name}`: [{name}.json](schemas/{name}.json)" for name in schemas.SCHEMAS]
    page = _TOPICS.format(rows="\n".join(rows), records="\n".join(records))
    pages = {_FOLDER / "topics.md": reference.GENERATED + page}
    for name, schema in schemas.SCHEMAS.items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"A record of {name}"}
        pages[_FOLDER / "schemas" / f"{name}.json"] = json.dumps(head | dict(schema), indent=2) + "\n"
    return pages


def http_pages() -> dict[Path, str]:
    """The description of the gateway's HTTP API. `docs/reference/http.md` explains it, and is written by hand."""
    return {_FOLDER / "openapi.json": json.dumps(server.describe(), indent=2) + "\n"}


def metrics_page() -> dict[Path, str]:
    """Every metric of each role. The gateway has those of connectors as well, for it receives webhooks."""
    roles = (
        ("worker", WorkerMetrics().registry),
        ("connectors, gateway", SourceMetrics().registry),
        ("gateway", Metrics().registry),
    )
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(labels)} | {metric.documentation} | {role} |"
        for role, registry in roles
        for collector in registry._collector_to_names
        for metric in cast(MetricWrapperBase, collector).describe()
        for labels in (getattr(collector, "_labelnames", ()),)
    ]
    return {_FOLDER / "metrics.md": reference.GENERATED + _METRICS.format(rows="\n".join(rows))}


def connectors_page() -> dict[Path, str]:
    """Every kind of source."""
    return {_FOLDER / "connectors.md": reference.GENERATED + connector_docs.page()}


def filled_pages() -> dict[Path, str]:
    """Pages written by hand, with their regions from the code."""
    paths = (_FOLDER / "workflows.md", _FOLDER / "events.md")
    return {path: filled((ROOT / path).read_text(encoding="utf-8")) for path in paths}


def filled(page: str) -> str:
    """Return the page with each region as the code says."""

    def fill(region: re.Match[str]) -> str:
        return f"{region['start']}\n{REGIONS[region['name']]()}\n{region['end']}"

    return _REGION.sub(fill, page)


def _definition() -> inspect.Signature:
    (_, with_arguments) = get_overloads(workflow)
    return inspect.signature(with_arguments)


def _arguments() -> str:
    """The arguments of `@workflow`: defaults from its signature, meanings from its docstring."""
    told = re.findall(r"^- `(\w+)`: (.+?)(?=^- |^$)", inspect.getdoc(workflow) or "", re.MULTILINE | re.DOTALL)
    meanings = {name: " ".join(meaning.split()) for name, meaning in told}
    rows = [
        f"| `{name}` | {'the name of the function' if name == 'id' else f'`{_shown(parameter.default)}`'} "
        f"| {meanings[name]} |"
        for name, parameter in _definition().parameters.items()
    ]
    return "\n".join(["| argument | default | meaning |", "|---|---|---|", *rows])


def _shown(default: object) -> str:
    return f'"{default}"' if isinstance(default, str) else str(default)


def _choices(choices: type[StrEnum]) -> str:
    """The values of an enumeration, with the text below each member."""
    (body,) = (one.body for one in ast.parse(inspect.getsource(choices)).body if isinstance(one, ast.ClassDef))
    (_, *meanings) = (
        str(one.value.value) for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
    )
    defaults = (
        *(one.default for one in _definition().parameters.values()),
        *(one.default for one in dataclasses.fields(Schedule)),
    )
    default = next(one for one in defaults if one in list(choices))
    rows = [
        f'| `"{member.value}"`{" (default)" if member == default else ""} | {meaning} |'
        for member, meaning in zip(choices, meanings, strict=True)
    ]
    return "\n".join([f"| value | {_first_line(choices)[:-1].lower()} |", "|---|---|", *rows])


def _context() -> str:
    """The members of `ctx` and of its log."""
    rows = [f"| `ctx.{name}` | {_first_line(one)} |" for name, one in _members(Context) if name not in _OWN_SECTIONS]
    rows += [f"| `ctx.log.{name}(message, *args, **fields)` | {_first_line(one)} |" for name, one in _members(Log)]
    return "\n".join(["| member | meaning |", "|---|---|", *rows])


def _steps(of: type) -> str:
    """The methods of `ctx.step` or `ctx.sources`: arguments, what they promise, the errors that docstrings name."""
    rows = [f"| `{name}({_given(one)})` | {_promise(one)} | {_raised(one)} |" for name, one in _members(of)]
    return "\n".join(["| method | what it does | raises |", "|---|---|---|", *rows])


def _given(method: Callable[..., Any]) -> str:
    given = [one.replace(annotation=inspect.Parameter.empty) for one in inspect.signature(method).parameters.values()]
    return str(inspect.Signature(given[1:]))[1:-1].replace(", /", "")


def _promise(method: Callable[..., Any]) -> str:
    return re.sub(r" Raises [^.]*\.", "", _first_line(method))


def _raised(method: Callable[..., Any]) -> str:
    sentences = re.findall(r"Raises ([^.]*)\.", inspect.getdoc(method) or "")
    return ", ".join(f"`{name}`" for one in sentences for name in re.findall(r"\b[A-Z]\w+", one))


def _event() -> str:
    """The keys of an event, as `Event` names them."""
    rows = [
        f"| `{name}` | {'any JSON, or the declared type' if name == 'data' else _type_of(one)} | {_first_line(one)} |"
        for name, one in _members(Event)
    ]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows])


def _type_of(one: property) -> str:
    returned = inspect.signature(cast(Callable[..., Any], one.fget)).return_annotation
    return {str: "text", str | None: "text or `None`"}[returned]


def _verdicts() -> str:
    """The two errors that carry a verdict."""
    rows = [
        f"| `{one.__name__}{inspect.signature(one).replace(return_annotation=inspect.Signature.empty)}` "
        f"| {_first_line(one)} |".replace(" | None", " or None").replace("float | ", "float or ")
        for one in (Reject, RetryLater)
    ]
    return "\n".join(["| raise | meaning |", "|---|---|", *rows])


def _members(of: type) -> Iterator[tuple[str, Any]]:
    return ((name, one) for name, one in vars(of).items() if not name.startswith("_") and one.__doc__)


def _first_line(one: Any) -> str:
    return (inspect.getdoc(one) or "").partition("\n")[0]


def _event_limits() -> str:
    """What is checked of an event, with its bounds."""
    rows = (
        ("record: key, value and headers together", f"{shown_default('limits.event_bytes')} (`limits.event_bytes`)"),
        ("headers of a record", f"{envelope.MAX_HEADERS}"),
        ("logical topic", f"1 to {fields.MAX_TOPIC} characters, no control characters, no blank at either end"),
        ("`id`, `source`", f"1 to {fields.MAX_ID} characters, no control characters"),
        ("`event_type`", f"at most {fields.MAX_TYPE} characters, no control characters"),
        ("`key`", f"at most {fields.MAX_KEY} characters"),
        ("objects and lists within each other", f"{fields.MAX_DEPTH} levels"),
    )
    return "\n".join(["| what | bound |", "|---|---|", *(f"| {what} | {bound} |" for what, bound in rows)])


def _event_codes() -> str:
    """The codes of records that are no events."""
    told = {code: remedy for code, remedy in malformed.REMEDIES.items() if code != "data_not_json"}  # authors' own
    return "\n".join(["| code | remedy |", "|---|---|", *(f"| `{code}` | {remedy} |" for code, remedy in told.items())])


def _bounds() -> str:
    return (
        f"`batch_size` is a whole number from 1 to {definition.MAX_BATCH_SIZE:,}, `max_retries` one from 0 to "
        f"{definition.MAX_RETRIES:,}; times are\nseconds or a `timedelta`, above 0 and at most ten years. Whatever is "
        "wrong is an error when the file is loaded, which\nnames the place and the remedy."
    )


REGIONS: Final[dict[str, Callable[[], str]]] = {
    "arguments": _arguments,
    "bounds": _bounds,
    "batch_by": lambda: _choices(BatchBy),
    "order": lambda: _choices(Order),
    "catch_up": lambda: _choices(CatchUp),
    "context": _context,
    "steps": lambda: _steps(Step),
    "sources": lambda: _steps(Sources),
    "event": _event,
    "verdicts": _verdicts,
    "limits": _event_limits,
    "codes": _event_codes,
}
"""What may stand between `<!-- from the code: <name> -->` and `<!-- end -->`."""
_OWN_SECTIONS: Final = ("log", "step", "sources")
"""Members of `ctx` that have members of their own."""
_REGION: Final = re.compile(r"(?P<start><!-- from the code: (?P<name>\w+) -->)\n.*?(?P<end><!-- end -->)", re.DOTALL)


def _kept(topic: catalog.Topic) -> str:
    if topic.retention_ms is None:
        return "the last record of each key"
    return f"{topic.retention_ms // catalog.DAY_MS} days"


def stale() -> list[Path]:
    """The files that are not as the code says."""
    return [path for path, text in generated().items() if _read(ROOT / path) != text]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> None:
    """Write what is stale, or say it."""
    outdated = stale()
    if "--check" in sys.argv[1:]:
        for path in outdated:
            print(f"{path} is stale: run `make docs`")
        sys.exit(bool(outdated))
    texts = generated()
    for path in outdated:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(texts[path], encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()

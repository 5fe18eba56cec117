"""Writes everything that is generated: `make docs`. With --check it writes nothing and fails when a file is stale.

    docs/reference/settings.md, cli.md    from the settings and the commands
    docs/reference/openapi.json           from the routes of the gateway
    docs/reference/metrics.md             from the metrics of worker and gateway
    docs/reference/topics.md, schemas/    from the catalog of topics and the schemas of records
    helm/headgate/                        from the settings and values.yaml

A test calls `stale()`, so that none of it can be forgotten.
"""

import json
import sys
from pathlib import Path
from typing import Final, cast

from prometheus_client.metrics import MetricWrapperBase

from app.cli import reference
from app.gateway import server
from app.gateway.metrics import Metrics
from app.observe.metrics import WorkerMetrics
from tools import chart_docs
from topics import catalog, schemas

ROOT: Final = Path(__file__).resolve().parents[1]
_FOLDER: Final = Path("docs/reference")
_TOPICS: Final = """\
# Topics

The names have a prefix, `headgate.` unless the setting `kafka.prefix` says otherwise. N is the setting
`kafka.partitions`. `headgate topics apply` creates what is missing, `headgate topics check` compares.

| topic | meaning | key | record | kept | partitions | largest record | time | written by |
|---|---|---|---|---|---|---|---|---|
{rows}

## Records

All public records are JSON. A record may gain fields; a field never changes its meaning.

{records}
"""


_METRICS: Final = """\
# Metrics

Prometheus text on `/metrics` of the worker (`worker.metrics_port`) and of the gateway. Counters end in `_total` there.

| metric | type | labels | meaning | of |
|---|---|---|---|---|
{rows}
"""


def generated() -> dict[Path, str]:
    """Every generated file, by its path in the repository, with the text that it must have."""
    chart = {path.resolve().relative_to(ROOT): text for path, text in chart_docs.generate().items()}
    return {**reference.pages(), **topics_pages(), **http_pages(), **metrics_page(), **chart}


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
    """Every metric of the worker and of the gateway."""
    rows = [
        f"| `{metric.name}` | {metric.type} | {', '.join(labels)} | {metric.documentation} | {role} |"
        for role, registry in (("worker", WorkerMetrics().registry), ("gateway", Metrics().registry))
        for collector in registry._collector_to_names
        for metric in cast(MetricWrapperBase, collector).describe()
        for labels in (getattr(collector, "_labelnames", ()),)
    ]
    return {_FOLDER / "metrics.md": reference.GENERATED + _METRICS.format(rows="\n".join(rows))}


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

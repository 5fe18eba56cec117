"""The description of the HTTP API: as committed, true, and explained."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from app.gateway import server

ROOT = Path(__file__).parents[4]
DOCS = ROOT / "docs" / "reference"


def test_the_committed_description_is_what_the_code_says() -> None:
    committed = orjson.loads((DOCS / "openapi.json").read_bytes())
    assert committed == server.describe(), "run `make docs`"


async def test_a_running_gateway_serves_it(serve: Any) -> None:
    async with serve() as served:
        assert (await served.client.get("/api/v1/openapi.json")).json() == server.describe()


def test_the_page_names_every_path_every_code_and_every_metric() -> None:
    page = (DOCS / "http.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app" / "gateway").glob("*.py"))
    sources += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "connectors" / "webhook").glob("*.py"))
    codes = set(re.findall(r'(?:Problem|unavailable|_later|Denial|_deny)\(\s*(?:\d{3},\s*)?"([a-z_]+)"', sources))
    metrics = set(re.findall(r'"(headgate_[a-z_]+)"', sources))
    assert {"not_json", "wrong_fields", "kafka_unavailable", "kafka_no_answer", "source_failed", "token_wrong"} <= codes
    paths = {re.sub(r"\{(?!provider)\w+(?::path)?\}", "{id}", path) for path in server.describe()["paths"]}
    assert [name for name in sorted(paths | codes | metrics) if name not in page] == []


def schema_of(path: str, method: str, status: str) -> dict[str, Any]:
    document = server.describe()
    content = document["paths"][path][method]["responses"][status]["content"]["application/json"]
    return {**content["schema"], "components": document["components"]}


@pytest.mark.parametrize(
    ("path", "template", "status"),
    [
        ("/api/v1/workflows", "/api/v1/workflows", 200),
        ("/api/v1/workflows/mail", "/api/v1/workflows/{workflow_id}", 200),
        ("/api/v1/workflows/none", "/api/v1/workflows/{workflow_id}", 404),
        ("/api/v1/sources", "/api/v1/sources", 200),
        ("/api/v1/sources/feed", "/api/v1/sources/{source_id}", 200),
        ("/api/v1/sources/hook", "/api/v1/sources/{source_id}", 200),
        ("/api/v1/sources/none", "/api/v1/sources/{source_id}", 404),
        ("/api/v1/runs", "/api/v1/runs", 200),
        ("/api/v1/runs?limit=0", "/api/v1/runs", 422),
        ("/api/v1/runs/w:1", "/api/v1/runs/{run_id}", 200),
        ("/api/v1/dead-letters", "/api/v1/dead-letters", 200),
        ("/healthz", "/healthz", 200),
        ("/readyz", "/readyz", 200),
    ],
)
async def test_answers_are_as_described(
    serve: Any, announced: Any, set_up: Any, path: str, template: str, status: int
) -> None:
    announcement = {
        "version": "1",
        "batch_size": 1,
        "batch_timeout_seconds": None,
        "batch_by": "workflow",
        "order": "key",
        "max_retries": 3,
        "timeout_seconds": None,
        "description": "",
        "schema": None,
        "announced_at": "2026-01-31T12:00:00.000Z",
        "announced_by": "a",
    }
    names = ("run_id", "workflow_id", "workflow_version", "status", "key", "started_at", "finished_at")
    summary = dict.fromkeys(names, "x") | {"attempts": 1, "error": None}
    async with serve() as served:
        await served.workflows.take([announced("mail", "a", **announcement)])
        await served.sources.take_triggers([set_up("feed", "rss"), set_up("hook", "webhook", offset=1)])
        served.read_model.summaries = [summary]
        served.read_model.records = {"w:1": (b"{}", [b"{}"])}
        served.read_model.letters = [b"{}"]
        answer = await served.client.get(path)
    assert answer.status_code == status
    jsonschema.validate(answer.json(), schema_of(template, "get", str(status)))


@pytest.mark.parametrize(
    ("body", "status"), [({"topic": "a", "data": 1}, 202), ([{"name": "a", "payload": 1}], 202), ({}, 422), (b"{", 400)]
)
async def test_answers_of_the_event_route_are_as_described(serve: Any, body: Any, status: int) -> None:
    async with serve() as served:
        answer = await served.post(body)
    assert answer.status_code == status
    jsonschema.validate(answer.json(), schema_of("/api/v1/events", "post", str(status)))
    if status == 202:
        request = server.describe()["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"]
        jsonschema.validate(body, {**request["schema"], "components": server.describe()["components"]})


@pytest.mark.parametrize(("path", "status"), [("/webhooks/none/hook", "2XX"), ("/webhooks/none/other", "404")])
async def test_answers_of_webhooks_are_as_described(serve: Any, set_up: Any, path: str, status: str) -> None:
    described = server.describe()["paths"]["/webhooks/{provider}/{id}"]["post"]
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", "webhook", provider="none")])
        answer = await served.client.post(path, json={"a": 1}, headers={"authorization": ""})
    assert status in described["responses"]
    assert "security" not in described
    assert (answer.status_code // 100 == 2) is (status == "2XX")
    if status == "404":
        jsonschema.validate(answer.json(), schema_of("/webhooks/{provider}/{id}", "post", "404"))

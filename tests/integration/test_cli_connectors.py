"""`headgate connectors`: what is set up, how it is, and which kinds there are."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest

from app.kafka.embedded import EmbeddedKafka
from app.kafka.records import Writer
from app.settings import KafkaSettings, Settings
from app.wiring import connectors
from connectors.base.kinds import declared
from topics.sources import Problem, Spec, State, Status, configured, status_told

Run = Callable[..., str]


@pytest.fixture
def run(run: Run) -> Run:
    """Returns what it said of errors as well."""
    return partial(run, errors=True)


def write(kafka: EmbeddedKafka, prefix: str, spec: Spec, status: Status | None = None) -> None:
    writer = Writer(KafkaSettings(bootstrap=kafka.bootstrap, prefix=prefix))
    writer.write(f"{prefix}triggers", key=spec.id.encode(), value=configured(spec).value, then=lambda _: None)
    if status is not None:
        writer.write(f"{prefix}sources", key=spec.id.encode(), value=status_told(status).value, then=lambda _: None)
    writer.flush()


def test_status_says_how_each_source_is(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    assert "No sources." in run("connectors", "status")
    problem = Problem(kind="permanent", reason="unauthorized", message="HTTP 401", at_ms=0)
    status = Status(
        id="bad",
        kind="rss",
        state=State.FAILED,
        since_ms=0,
        updated_at_ms=0,
        owner="c0",
        events_received=7,
        error=problem,
    )
    write(kafka, kafka_prefix, Spec(id="bad", kind="rss", origin="file a.yaml"), status)
    write(kafka, kafka_prefix, Spec(id="hook", kind="webhook", options={"provider": "token"}))
    write(kafka, kafka_prefix, Spec(id="new", kind="cron"))

    table = run("connectors", "status", code=1)
    assert "HTTP 401" in table
    assert "received by the gateway at /webhooks/token/hook" in table
    [hook] = [orjson.loads(line) for line in run("connectors", "status", "hook", "--json").splitlines()]
    assert hook["path"] == "/webhooks/token/hook"
    assert "start `headgate connectors`" in table
    lines = [orjson.loads(line) for line in run("connectors", "status", "bad", "--json", code=1).splitlines()]
    assert [("bad", "failed", 7, "file a.yaml", "c0")] == [
        (line["id"], line["state"], line["events_received"], line["origin"], line["owner"]) for line in lines
    ]
    assert "No source 'other'" in run("connectors", "status", "other", code=1)
    assert "unknown" in run("connectors", "status", "new")


def test_status_of_an_id_is_a_block_with_everything(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    status = Status(
        id="feed",
        kind="rss",
        state=State.BACKING_OFF,
        since_ms=1_000,
        updated_at_ms=9_000,
        owner="c0",
        connected_at_ms=500,
        last_event_at_ms=2_000,
        last_byte_at_ms=3_000,
        events_received=7,
        reconnect_attempts=2,
        next_retry_at_ms=5_000,
        error=Problem(kind="transient", reason="http_503", message="HTTP 503", at_ms=4_000),
        last_error=Problem(kind="transient", reason="http_503", message="HTTP 503", at_ms=4_000),
        position='{"seen":["a"]}',
        delivery="exactly-once",
    )
    write(kafka, kafka_prefix, Spec(id="feed", kind="rss", origin="file a.yaml", paused=True), status)
    write(kafka, kafka_prefix, Spec(id="new", kind="cron"))

    both = run("connectors", "status", "feed", "new", code=1).split("\n\n")
    first = dict(line.split("  ", 1) for line in both[0].splitlines())
    shown = {name: text.strip() for name, text in first.items()}
    assert {
        "source": "feed",
        "kind": "rss",
        "state": "unknown",
        "since": "1970-01-01T00:00:01.000Z",
        "problem": "no process runs it, it was backing off last: start `headgate connectors`",
        "last error": "1970-01-01T00:00:04.000Z: HTTP 503 (transient, http_503)",
        "connected at": "1970-01-01T00:00:00.500Z",
        "last event": "1970-01-01T00:00:02.000Z",
        "last byte": "1970-01-01T00:00:03.000Z",
        "attempts": "2",
        "next retry": "1970-01-01T00:00:05.000Z",
        "position": '{"seen":["a"]}',
        "events": "7",
        "filtered": "0",
        "dead letters": "0",
        "notes": "-",
        "delivery": "exactly-once",
        "topic": "feed/{{ type }}",
        "path": "-",
        "set up by": "file a.yaml",
        "owner": "c0",
        "updated at": "1970-01-01T00:00:09.000Z",
    } == shown
    assert both[1].startswith("source        new\n")


def test_what_the_last_process_said_is_not_how_a_source_is(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    """All processes that ran it are gone, whatever they said."""
    status = Status(id="a", kind="rss", state=State.CONNECTED, since_ms=0, updated_at_ms=0, owner="c0")
    write(kafka, kafka_prefix, Spec(id="a", kind="rss"), status)
    write(kafka, kafka_prefix, Spec(id="hook", kind="webhook"), replace(status, id="hook", kind="webhook"))

    table = run("connectors", "status", code=1)
    assert "no process runs it, it was connected last: start `headgate connectors`" in table
    lines = [orjson.loads(line) for line in run("connectors", "status", "--json", code=1).splitlines()]
    assert {"a": "unknown", "hook": "connected"} == {line["id"]: line["state"] for line in lines}
    assert "so nothing reads a\n" in run("doctor")


def test_events_that_became_dead_letters_are_seen_in_the_status(
    run: Run, kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    hook = Status(id="a", kind="webhook", state=State.CONNECTED, since_ms=0, updated_at_ms=0, dead_letters=3)
    write(kafka, kafka_prefix, Spec(id="a", kind="webhook"), hook)

    assert "3 dead letters: `headgate tail dlq`" in run("connectors", "status")
    only = run("connectors", "status", "other", code=1)
    assert (only.count("\n"), "No source 'other'" in only) == (1, True)


def test_where_a_webhook_is_called_is_no_problem(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    hook = Status(id="a", kind="webhook", state=State.CONNECTED, since_ms=0, updated_at_ms=0)
    write(kafka, kafka_prefix, Spec(id="a", kind="webhook", options={"provider": "none"}), hook)

    assert "/webhooks/none/a" in run("connectors", "status")
    shown = dict(line.split("  ", 1) for line in run("connectors", "status", "a").splitlines())
    assert (shown["problem"].strip(), shown["path"].strip()) == ("-", "/webhooks/none/a")


def test_a_source_is_removed_by_hand(run: Run, kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    write(kafka, kafka_prefix, Spec(id="old", kind="cron", origin="run w:1"))
    write(kafka, kafka_prefix, Spec(id="other", kind="cron", origin="file a.yaml"))

    assert "Add --yes" in run("connectors", "remove", "old", code=2)
    assert "Removed old, which run w:1 had set up." in run("connectors", "remove", "old", "--yes")
    assert "No source 'old'" in run("connectors", "remove", "old", "--yes", code=1)
    assert "other" in run("connectors", "status")


def test_kinds_are_listed_and_described(run: Run) -> None:
    listed = run("connectors", "kinds")
    for kind in ("cron", "http-stream", "websocket", "webhook"):
        assert kind in listed
    shown = run("connectors", "kinds", "cron")
    assert "schedule" in shown
    assert "kind: cron" in shown
    assert "Events: `tick`: `{scheduledAt, firedAt}`" in shown
    assert "schedule        text              required" in shown
    assert orjson.loads(run("connectors", "kinds", "cron", "--json"))["schema"]["properties"]["schedule"]
    assert "Did you mean 'cron'" in run("connectors", "kinds", "crom", code=2)


def test_a_file_that_cannot_be_followed_is_refused_before_anything_starts(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text("sources: [{id: a, kind: cron, options: {schedul: 1h}}]")

    assert "did you mean 'schedule'?" in run("connectors", str(file), code=2)
    assert "cannot be read" in run("connectors", str(tmp_path / "none.yaml"), code=2)


def test_a_command_that_is_misspelt_is_not_taken_for_a_file(run: Run, tmp_path: Path) -> None:
    assert "There is no command and no file 'statuss'. Did you mean 'status'?" in run("connectors", "statuss", code=2)
    assert "none.yaml: it cannot be read" in run("connectors", "none.yaml", code=2)
    (tmp_path / "status2").write_text("sources: 5")
    assert "no list `sources:`" in run("connectors", str(tmp_path / "status2"), code=2)


async def test_files_are_reconciled_with_what_is_set_up(
    kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings.load({"connectors.metrics_port": 0}, dev=True)
    file = tmp_path / "sources.yaml"
    file.write_text(
        "sources: [{id: a, kind: cron, options: {schedule: 1h}}, {id: b, kind: cron, options: {schedule: 2h}}]"
    )
    write(kafka, kafka_prefix, Spec(id="mine", kind="cron", options={"schedule": "3h"}, origin="run w:1"))

    async def once(expected: set[str]) -> None:
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(
            connectors.run(settings, [file], stop=stop, ready=lambda _: ready.set(), reload=False)
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
        waiting.cancel()
        stop.set()
        await task
        assert expected == connectors._set_up(settings).keys()

    await once({"a", "b", "mine"})
    file.write_text("sources: [{id: b, kind: cron, options: {schedule: 2h}}]")
    await once({"b", "mine"})
    file.write_text(
        "sources: [{id: mine, kind: cron, options: {schedule: 2h}}, {id: b, kind: cron, options: {schedule: 2h}},"
        " {id: c, kind: cron, options: {schedule: 2h}}]"
    )
    await once({"b", "c", "mine"})
    file.write_text("sources: [{id: d, kind: cron, options: {schedule: 2h}}]")
    with pytest.raises(declared.StrangersError, match="has set up b, c, and none of it is here"):
        await once({"d", "mine"})
    file.write_text("sources: []")
    await once({"mine"})
    assert connectors._set_up(settings)["mine"].origin == "run w:1"
    assert "HEADGATE" not in file.read_text()


async def test_a_taken_port_is_told(kafka: EmbeddedKafka, run: Run) -> None:
    taken = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    settings = Settings.load({"connectors.metrics_port": port}, dev=True)
    try:
        with pytest.raises(connectors.MetricsPortTaken, match="--metrics-port"):
            await connectors.run(settings, [], stop=asyncio.Event())
    finally:
        taken.close()

"""The generated page."""

import json
from pathlib import Path

import pytest

from benchmarks import durable_sides, report

MACHINE = {
    "date": "2026-01-01T00:00:00+00:00",
    "commit": "abc",
    "cores": 2,
    "cpu": "a processor",
    "memory_gb": 8,
    "kernel": "Linux 6",
    "python": "3.11.7",
    "kafka": "4.3.1",
    "java": "Java 25",
    "packages": {"aiokafka": "0.14.0"},
    "peers": {"faststream": "1", "quixstreams": "3"},
    "durable_peers": {"dbos": "3.4.0", "restate-server": "1.7.12"},
}


def test_the_page_has_a_section_for_what_was_measured_and_names_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"ready_seconds": 1.5, "rss_mb": 80.0, "peak_rss_mb": 81.0, "cpu_percent": 0.4}
    pace = {"loop_ns": 41.0, "memory_ns": 120.5, "socket_us": 2.5}
    told = {"before": pace, "after": pace, "stolen_percent": 0.4}
    measured = {"quick": False, "machine": MACHINE, "watched_seconds": 20, "summary": {"first": row}, "pace": told}
    (tmp_path / "idle.json").write_text(json.dumps(measured))
    monkeypatch.setattr(report, "PAGE", tmp_path / "docs" / "benchmarks.md")
    page = report.write(tmp_path).read_text()
    assert "a step through memory 120.5 ns" in page
    assert "| first start on these topics | 1.5 | 80.0 | 0.4 |" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## Goals", "## Idle"]
    missing = (
        "throughput latency gateway connectors first bounds scaling dedup restart durable waiting timers calls journal"
    )
    assert f'Not measured yet: {missing.replace(" ", ", ")} (`make bench ARGS="{missing}"`).' in page


def test_goals_are_told_of_a_slower_machine_too_with_what_a_peer_did_on_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pace = {"loop_ns": 41.0, "memory_ns": 180.5, "socket_us": 2.5}
    told = {"before": pace, "after": pace, "stolen_percent": 0.4}
    row = {"cpu_us_per_event": 5.0, "broker_cpu_us_per_event": 1.0, "peak_rss_mb": 80.0, "workers": 1}
    row |= {"lost": 0, "doubled": 0, "headgate_ratio": 0.5}
    for folder, rate in ((tmp_path, 184_076), (tmp_path / "slower", 98_689)):
        folder.mkdir(exist_ok=True)
        summary = {"aiokafka/backlog": {**row, "per_second": rate}, "faust/backlog": {**row, "headgate_ratio": 19.08}}
        measured = {"quick": False, "machine": MACHINE, "pace": told, "runs": [{"round": 5}], "failures": []}
        (folder / "throughput.json").write_text(json.dumps(measured | {"summary": {**summary}}))
    monkeypatch.setattr(report, "SECTIONS", {"throughput": lambda _: "## Events to results"})
    monkeypatch.setattr(report, "PAGE", tmp_path / "docs" / "benchmarks.md")
    page = report.write(tmp_path).read_text()
    assert "raw aiokafka did 98,689/s there, and 184,076/s where the others were measured" in page
    assert page.count("| the same ÷ stock Faust | at least 12 | 19.08 | yes | 5, abc |") == 2
    assert "- throughput: 5 rounds, 2026-01-01T00:00:00+00:00, commit abc. Pace before and after: " in page


def test_sources_stand_beside_the_same_work_without_a_framework(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flood = {"per_second": 18_000, "cpu_us_per_event": 24.5, "broker_cpu_us_per_event": 9.1, "peak_rss_mb": 80.0}
    summary = {
        "websocket/flood/headgate": {
            **flood,
            "ack_p50_ms": 8.1,
            "ack_p99_ms": 21.0,
            "rate_ratio": 0.5,
            "cpu_ratio": 2.0,
        },
        "websocket/flood/bare": {**flood, "per_second": 36_000},
        "slack/flood/headgate": {**flood, "peer_cpu_us_per_event": 12.5, "unacknowledged": 3},
        "cron/ticks/headgate": {**flood, "per_second": 200, "p50_ms": 12.0, "p99_ms": 60.5, "max_ms": 99.0},
    }
    measured = {
        "quick": False,
        "machine": MACHINE,
        "rate": 10_000,
        "paced_seconds": 30.0,
        "connections": 64,
        "schedules": 200,
        "titles": {"websocket": "WebSocket", "redis": "Redis Streams", "slack": "Slack", "cron": "200 schedules"},
        "skipped": {"redis": "redis-server is not installed"},
        "summary": {name: {**one, "lost": 0, "doubled": 0} for name, one in summary.items()},
    }
    (tmp_path / "connectors.json").write_text(json.dumps(measured))
    monkeypatch.setattr(report, "PAGE", tmp_path / "docs" / "benchmarks.md")
    page = report.write(tmp_path).read_text()
    assert "| WebSocket | 18,000 | 24.5 | 9.1 |  | 80 | 8.1 | 21.0 | 0 | 0 |  |" in page
    assert "| Slack | 18,000 | 24.5 | 9.1 | 12.5 | 80 | None | None | 0 | 0 | 3 |" in page
    assert "| 200 schedules | 200 | 24.5 |" in page
    assert "ms from the instant to a consumer: p50 12.0, p99 60.5, max 99.0." in page
    assert "| WebSocket, flood | Headgate | 18,000 | 0.5 | 24.5 | 2.0 |  |  |  | 0 | 0 |" in page
    assert "| WebSocket, flood | aiohttp and aiokafka | 36,000 |" in page
    assert "Not measured: redis (redis-server is not installed)." in page
    assert "faststream" not in page.partition("<sub>")[2]


def test_without_results_nothing_is_written_and_the_way_to_get_some_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make bench"):
        report.write(tmp_path)


SIDES = {"headgate": {"title": "Headgate", "durability": "acks=all", "in_flight": 256}}
TIMES = {"p50_ms": 1.5, "p99_ms": 9.5, "max_ms": 20.5}
FAULTS = {"early": 0, "missed": 0, "twice": 0}
DURABLE = {
    "durable": (
        {
            f"headgate/{form}": {
                **TIMES,
                "rate": 400,
                "per_second": 3210.4,
                "headgate_ratio": 1.0,
                "cpu_ms_per_run": 0.4,
                "memory_mb": 1234.5,
                "processes": {"headgate-1": {"cpu_ms_per_run": 0.25, "peak_rss_mb": 200.4, "memory_mb": 150.0}},
                **dict.fromkeys(("lost", "wrong", "doubled", "steps_repeated"), 0),
            }
            for form in ("throughput", "latency", "half")
        },
        "| Headgate: acks=all | 3,210 | 1.00 | 256 | 0.4 | 1,234 | 0 | 0 | 0 |",
    ),
    "waiting": (
        {
            "headgate": {
                **dict.fromkeys(("parked_per_second", "max_ms", "twice", "missed"), 0),
                "waiting": 1_000_000,
                "rss_mb_before": 90.0,
                "rss_mb": 480.0,
                "all_mb_before": 800.0,
                "all_mb": 1_300.0,
                "fresh_ratio": 0.95,
                "restart_seconds": 4.5,
                "wake_p50_ms": 3.5,
                "wake_p99_ms": 12.5,
            }
        },
        "| Headgate: acks=all | 1,000,000 | 90 | 480 | 800 | 1,300 | 3.5 | 12.5 | 0 | 0.95 | 4.5 |",
    ),
    "timers": (
        {
            "headgate": {**TIMES, **FAULTS, "pending": 10**6, "due": 10_000, "rss_mb": 400.0},
            "headgate/timeouts": {**TIMES, **FAULTS, "due": 1_000},
        },
        "| Headgate: acks=all, time-outs |  | 1,000 | 1.5 | 9.5 | 20.5 | 0 | 0 | 0 |  |",
    ),
    "calls": (
        {"headgate/reply_topic": {**TIMES, "per_second": 500.0, "lost": 0, "wrong": 0}},
        "| Headgate: acks=all | Kafka, reply_topic | 1.5 | 9.5 | 20.5 | 0 |",
    ),
    "journal": (
        {"headgate": {"us_per_step_by_hundred": [900.0] * 9 + [1_080.0], "last_to_first": 1.2, "repeated": 0}},
        "| Headgate: acks=all | 900 | 900 | 1,080 | 1.2 |",
    ),
}


@pytest.mark.parametrize("mode", DURABLE)
def test_a_mode_of_durable_runs_has_its_table_its_failures_and_the_versions_of_its_peers(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, row = DURABLE[mode]
    failures = [{"side": "dbos", "label": f"{mode}2", "reason": "its log"}]
    measured = {"quick": False, "machine": MACHINE, "sides": SIDES, "summary": summary, "failures": failures}
    (tmp_path / f"{mode}.json").write_text(json.dumps({**measured, "rate": 400, "steps": 1_000}))
    monkeypatch.setattr(report, "PAGE", tmp_path / "docs" / "benchmarks.md")
    page = report.write(tmp_path).read_text()
    assert row in page.splitlines()
    for side in durable_sides.SIDES.values():
        assert (side.name in SIDES) is (f"{side.title} ({side.durability})" not in page.partition("beside it:")[2])
    assert f"{mode}2 of dbos failed and is not in the medians." in page
    assert "restate-server 1.7.12" in page
    assert "faststream" not in page.partition("<sub>")[2]

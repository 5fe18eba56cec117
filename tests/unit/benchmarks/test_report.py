"""The generated page."""

import json
from pathlib import Path

import pytest

from benchmarks import report

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
}


def test_the_page_has_a_section_for_what_was_measured_and_none_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"ready_seconds": 1.5, "rss_mb": 80.0, "peak_rss_mb": 81.0, "cpu_percent": 0.4}
    measured = {"quick": False, "machine": MACHINE, "watched_seconds": 20, "summary": {"first": row}}
    (tmp_path / "idle.json").write_text(json.dumps(measured))
    monkeypatch.setattr(report, "PAGE", tmp_path / "docs" / "benchmarks.md")
    page = report.write(tmp_path).read_text()
    assert "| first start on these topics | 1.5 | 80.0 | 0.4 |" in page
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## Idle"]


def test_without_results_nothing_is_written_and_the_way_to_get_some_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make bench"):
        report.write(tmp_path)

"""The diary of durable runs."""

from pathlib import Path

import pytest

from benchmarks.sides import diary


def test_what_is_noted_is_read_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "diary"
    monkeypatch.setenv(diary.VARIABLE, str(path))
    pen, reader = diary.Pen(), diary.Reader(path)
    pen.note("t-00000000000001", 1)
    pen.note("t-00000000000001", diary.PARKED)
    first = list(reader.new())
    pen.note("t-00000000000002", 3)
    second = list(reader.new())
    assert [(line.run_id, line.mark) for line in first + second] == [
        ("t-00000000000001", 1),
        ("t-00000000000001", diary.PARKED),
        ("t-00000000000002", 3),
    ]
    assert first[0].at_ns <= first[1].at_ns <= second[0].at_ns
    reader.close()


def test_half_a_line_is_read_once_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "diary"
    monkeypatch.setenv(diary.VARIABLE, str(path))
    diary.Pen().note("t-00000000000001", 7)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:5])
    reader = diary.Reader(path)
    assert len(list(reader.new())) == 1
    with path.open("ab") as file:
        file.write(whole[5:])
    assert [line.mark for line in reader.new()] == [7]
    reader.close()


def test_without_a_diary_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(diary.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    diary.Pen().note("t-00000000000001", 1)
    assert list(tmp_path.iterdir()) == []

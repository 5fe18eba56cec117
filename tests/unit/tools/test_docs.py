import sys
from pathlib import Path

import pytest

from tools import docs


def test_nothing_that_is_generated_is_stale() -> None:
    assert docs.stale() == [], "run `make docs`"


def test_a_check_says_what_is_stale_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "generated", lambda: {docs._FOLDER / "a.md": "text"})
    monkeypatch.setattr(sys, "argv", ["docs.py", "--check"])
    with pytest.raises(SystemExit) as raised:
        docs.main()
    assert raised.value.code == 1
    assert capsys.readouterr().out == "docs/reference/a.md is stale: run `make docs`\n"
    assert list(tmp_path.iterdir()) == []


def test_it_writes_what_is_stale_and_then_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "generated", lambda: {docs._FOLDER / "a.md": "text"})
    monkeypatch.setattr(sys, "argv", ["docs.py"])
    docs.main()
    docs.main()
    assert capsys.readouterr().out == "wrote docs/reference/a.md\n"
    assert (tmp_path / docs._FOLDER / "a.md").read_text() == "text"

import sys
from pathlib import Path

import pytest

from headgate import Step
from tools import docs
from topics.malformed import REMEDIES


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


def test_regions_of_a_page_are_filled_and_the_rest_stays_as_it_is() -> None:
    page = "# Mine\n<!-- from the code: order -->\nold\n<!-- end -->\nmine\n"
    assert docs.filled(page) == (
        "# Mine\n<!-- from the code: order -->\n"
        "| value | when the next event of the same workflow and key starts |\n|---|---|\n"
        '| `"key"` (default) | Once the run before it has finished or waits. |\n'
        '| `"strict"` | Once the run before it has finished. |\n'
        '| `"none"` | At once. |\n'
        "<!-- end -->\nmine\n"
    )
    assert docs.filled(docs.filled(page)) == docs.filled(page)


def test_a_region_that_nobody_fills_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        docs.filled("<!-- from the code: nobody -->\n<!-- end -->")


def test_each_region_is_on_a_page() -> None:
    text = "".join(docs.filled_pages().values())
    assert [name for name in docs.REGIONS if f"<!-- from the code: {name} -->" not in text] == []


def test_every_argument_of_a_workflow_has_a_row_and_its_default() -> None:
    rows = [line.split(" | ")[:2] for line in docs.REGIONS["arguments"]().splitlines()[2:]]
    assert rows == [
        ["| `id`", "the name of the function"],
        ["| `trigger_on_event`", "`None`"],
        ["| `batch_size`", "`1`"],
        ["| `batch_timeout_seconds`", "`None`"],
        ["| `batch_by`", '`"workflow"`'],
        ["| `filter`", "`None`"],
        ["| `order`", '`"key"`'],
        ["| `max_retries`", "`3`"],
        ["| `timeout`", "`None`"],
        ["| `schedule`", "`None`"],
        ["| `cancel_on`", "`None`"],
        ["| `cancel_filter`", "`None`"],
        ["| `on_failure`", "`None`"],
        ["| `version`", '`"1"`'],
    ]


def test_every_step_has_a_row_with_its_arguments_and_its_errors() -> None:
    rows = docs.REGIONS["steps"]().splitlines()[2:]
    assert len(rows) == sum(not name.startswith("_") for name in vars(Step))
    assert rows[0] == (
        "| `run(key, fn, *args, max_retries=2, base_delay=1.0, max_delay=10.0, timeout=None, **kwargs)` | Call "
        "`fn(*args, **kwargs)`, async or plain, and return what it returned, the same on every replay. | `StepError` |"
    )
    assert {one.split("(")[0].strip("| `"): one.rpartition("| ")[2].rstrip(" |") for one in rows if "Error" in one} == {
        "run": "`StepError`",
        "wait_for_event": "`EventTimeout`, `StepError`",
        "invoke_and_wait": "`ChildError`",
        "batch_invoke_and_wait": "`ChildError`",
    }


def test_every_code_of_a_record_that_is_no_event_is_told() -> None:
    told = docs.REGIONS["codes"]()
    assert [code for code in REMEDIES if f"| `{code}` |" not in told] == ["data_not_json"]

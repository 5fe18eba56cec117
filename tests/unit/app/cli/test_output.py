import io
import sys
from datetime import date

import orjson
import pytest

from app.cli import output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_aligned_and_has_no_blanks_at_the_ends(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id", "what"), [("a", 1), ("long", None)])
    assert capsys.readouterr().out == "id    what\na     1\nlong  -\n"


def test_in_a_pipe_nothing_is_cut_or_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("status", "text"), [("failed", "x" * 200)])
    assert capsys.readouterr().out.splitlines()[1] == "failed  " + "x" * 200


def test_on_a_terminal_long_cells_are_cut_and_words_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    output.table(("status", "text"), [("failed", "x" * 200)], widest=10)
    line = terminal.getvalue().splitlines()[1]
    assert line == "\x1b[31mfailed\x1b[0m  xxxxxxxxx…\x1b[0m"


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (1, "1"), ({"a": [1]}, '{"a":[1]}'), (None, "null"), ("a\nb\x1b[31m", "a\\nb\\x1b[31m"), ("ü€", "ü€")],
)
def test_a_value_stays_on_one_line_and_commands_no_terminal(value: object, text: str) -> None:
    assert output.one_line(value) == text


def test_json_commands_no_terminal_and_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"x": "a\u009b31mred\u202e\x1b]0;t\x07 ü\n"}
    output.echo_json(given)
    for text in (output.pretty_json(given), capsys.readouterr().out.rstrip("\n"), output.one_line(given)):
        assert text.replace("\n", "").isprintable()
        assert orjson.loads(text) == given


def test_what_nests_too_deeply_to_be_written_is_said_to(capsys: pytest.CaptureFixture[str]) -> None:
    deep = orjson.loads(b"[" * 300 + b"]" * 300)
    output.echo_json(deep)
    assert output.one_line(deep) == output.pretty_json(deep) == capsys.readouterr().out.strip()


def test_json_takes_what_json_has_not(capsys: pytest.CaptureFixture[str]) -> None:
    output.echo_json({1: date(2026, 1, 2)})
    assert capsys.readouterr().out == '{"1":"2026-01-02"}\n'


def test_fields_are_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.fields({"run": "a", "finished": None})
    assert capsys.readouterr().out == "run       a\nfinished  -\n"


def test_words_about_the_work_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    output.note("a")
    output.warn("b")
    assert capsys.readouterr() == ("", "a\nwarning: b\n")


def test_progress_is_silent_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("sent") as show:
        show(1)
    assert capsys.readouterr() == ("", "")


def test_progress_counts_on_a_terminal_and_wipes_itself_out(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with output.progress("sent") as show:
        show(1000)
    assert terminal.getvalue() == "\rsent: 1,000 \r\x1b[K"

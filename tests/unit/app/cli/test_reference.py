from pathlib import Path

from app.cli import main, reference
from app.cli.exits import MEANINGS
from app.settings import FIELDS, variable

ROOT = Path(__file__).resolve().parents[4]


def test_the_pages_are_as_the_code_says() -> None:
    stale = [path for path, text in reference.pages().items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"


def test_every_setting_has_its_row() -> None:
    page = reference.settings_page()
    assert [name for name in FIELDS if f"| `{name}`<br>`{variable(name)}` |" not in page] == []


def test_a_list_that_development_starts_from_is_shown_as_it_is_written() -> None:
    [row] = [line for line in reference.settings_page().splitlines() if line.startswith("| `connectors.allow`")]
    assert "| `none` | `127.0.0.0/8, ::1/128` |" in row


def test_every_command_has_its_help_and_every_code_its_row() -> None:
    page = reference.cli_page()
    assert [name for name in main.found() if f"\n## headgate {name}\n" not in page] == []
    assert "\n### headgate topics apply\n" in page
    assert [code for code, meaning in MEANINGS.items() if f"| {int(code)} | {meaning} |" not in page] == []

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_help_is_plain_text_in_a_pipe() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "  help       this list\n" in done.stdout
    assert "\x1b" not in done.stdout

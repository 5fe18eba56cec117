import io
import subprocess
import sys

import click
import pytest

from app.cli import groups, main
from app.cli.exits import MEANINGS, Exit
from app.kafka.clients import KafkaUnreachable
from app.settings import Problem, SettingsError

HEAVY = ("faust", "fastapi", "aiokafka", "confluent_kafka", "pydantic", "rich", "uvicorn")


def run_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command that raises `error`."""

    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(groups.Suggesting, "resolve_command", lambda *_: ("broken", command, []))
    return main.run(["broken"])


def test_every_file_that_defines_a_command_is_one() -> None:
    promised = {"dev", "doctor", "gateway", "kafka", "runs", "send", "tail", "topics", "worker", "workflows"}
    assert promised <= set(main.found())
    assert not {"main", "output", "options", "exits", "cluster", "reference"} & set(main.found())


def test_every_command_says_in_a_line_what_it_is_for() -> None:
    assert [name for name, text in main.found().items() if not text] == []


def test_help_names_all_commands_and_all_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    text = capsys.readouterr().out
    assert [name for name in main.found() if f"  {name} " not in text] == []
    assert [code for code, meaning in MEANINGS.items() if f"{code:>2}  {meaning}" not in text] == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        f"import sys; from app.cli import main; main.run(['--help']); print([m for m in {HEAVY} if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [["topics", "--help"], ["topics", "apply", "--help"], ["doctor", "--help"]])
def test_every_help_teaches_with_an_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 0
    assert "headgate " in capsys.readouterr().out.partition("Example")[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["topcs"], "No such command 'topcs'. Did you mean 'topics'?"),
        (["xyzzy"], "No such command 'xyzzy'. Commands are "),
        (["topics", "aply"], "No such command 'aply'. Did you mean 'apply'?"),
        (["topics", "apply", "--kafak", "x"], "No such option: --kafak Did you mean --kafka?"),
        (["tail", "evnts"], "'evnts' is not one of 'events', 'results', 'runs', 'dlq'. Did you mean 'events'?"),
        (["runs", "list", "--status", "complete"], "'stuck'. Did you mean 'completed'?"),
        (["tail", "xyzzy"], "'xyzzy' is not one of 'events', 'results', 'runs', 'dlq'.\n"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == Exit.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker"], "Missing argument 'PATH...'.\nExample: headgate worker workflows.py --kafka "),
        (["tail"], "dlq\nExample: headgate tail results --from-start\n"),
        (["send"], "Missing argument 'TOPIC'.\nExample: headgate send "),
    ],
)
def test_what_is_missing_is_shown_in_an_example(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(arguments) == Exit.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            SettingsError(
                Problem(source="X", fact="is wrong", remedy="Mend it"), Problem(source="Y", fact="a", remedy="b")
            ),
            Exit.USAGE,
            "error: X: is wrong. Mend it\nerror: Y: a. b\n",
        ),
        (
            KafkaUnreachable("a:1", "gone", "Wait"),
            Exit.UNREACHABLE,
            "error: Kafka is not reachable at a:1: gone. Wait\n",
        ),
        (click.ClickException("no"), Exit.FAILED, "Error: no\n"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "\n"),
    ],
)
def test_each_error_has_its_words_and_its_code(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_with(error, monkeypatch) == code
    assert capsys.readouterr().err == message


def test_an_error_may_carry_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fenced(Exception):
        exit_code = 4

    assert run_with(Fenced("another owner"), monkeypatch) == Exit.CONFLICT


def test_an_unexpected_error_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(ZeroDivisionError("oops"), monkeypatch) == Exit.CRASHED
    text = capsys.readouterr().err
    assert text.startswith("Traceback")
    assert text.endswith("headgate: unexpected error: ZeroDivisionError: oops\n")


def test_a_code_that_a_command_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as raised:
        run_with(SystemExit(9), monkeypatch)
    assert raised.value.code == 9


def test_a_reader_that_has_enough_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main.run(["--help"]) == Exit.OK


def test_wrong_settings_end_a_command_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADGATE_KAFKA_BOOTSTRP", "a:1")
    assert main.run(["topics", "check"]) == Exit.USAGE
    assert capsys.readouterr().err == (
        "error: HEADGATE_KAFKA_BOOTSTRP: is not a setting. Did you mean HEADGATE_KAFKA_BOOTSTRAP?\n"
    )

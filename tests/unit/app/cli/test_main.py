import io
import itertools
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

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


def all_commands(
    group: click.Group = main.cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group of them below `group`, with what a user types for it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


COMMANDS = dict(all_commands())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_teaches_with_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    known = main.examples(COMMANDS[path])
    assert any(f"headgate {path[0]}" in example for example in known)
    assert [example for example in known if example.partition("\n")[0] not in shown] == []


def calls_in(example: str) -> Iterator[list[str]]:
    """What is after `headgate` in each part of a pipe."""
    words = shlex.shlex(example.replace("\\\n", " "), posix=True, punctuation_chars="|")
    words.whitespace_split = True
    for is_pipe, part in itertools.groupby(words, lambda word: word == "|"):
        line = list(part)
        if not is_pipe and "headgate" in line:
            yield line[line.index("headgate") + 1 :] + (["ID"] if line[0] == "xargs" else [])


STARTS = [re.split(" {2,}", line.strip())[0] for line in main.EPILOG.splitlines() if line.startswith("  headgate ")]
CALLS = [
    call
    for example in [*STARTS, *itertools.chain(*map(main.examples, COMMANDS.values()))]
    for call in calls_in(example)
]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_example_is_a_call_that_its_command_takes(call: list[str]) -> None:
    command: click.Command | None = main.cli
    context = click.Context(main.cli)
    while isinstance(command, click.Group):
        name, command, call = command.resolve_command(context, call)
        assert command is not None
        context = click.Context(command, parent=context, info_name=name)
    assert command is not None
    command.make_context(command.name, call, parent=context.parent)  # raises UsageError, and runs nothing


def test_an_example_with_an_option_that_its_command_lacks_is_found() -> None:
    [call] = calls_in("jq . orders.json | headgate topics apply --quickly")
    with pytest.raises(click.NoSuchOption):
        test_every_example_is_a_call_that_its_command_takes(call)


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

"""The command `headgate`: finds its subcommands by file name, prints errors in words, ends with a code that says why.

The files of this folder are the registry: one that defines `command` is a command, and the first line of its docstring
is what `headgate --help` says of it. A module is imported only when its command runs, so that help comes at once.
"""

import ast
import importlib
import inspect
import re
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from app.cli.exits import MEANINGS, Exit
from app.cli.groups import Suggesting
from app.cli.options import Invocation

FOLDER: Final = Path(__file__).parent
EPILOG: Final = "\n".join(
    [
        "\b",
        "Start here:",
        "  headgate dev examples/webshop            everything on this machine, with a Kafka of its own",
        "  headgate send order.created '{\"id\": 1}'  an event",
        "  headgate tail results --from-start       what it caused",
        "",
        "\b",
        "Settings: headgate.toml, HEADGATE_<GROUP>_<FIELD>, options; the later ones win.",
        "",
        "\b",
        "Exit codes:",
        *(f"  {code:>2}  {meaning}" for code, meaning in MEANINGS.items()),
    ]
)


@cache
def found() -> dict[str, str]:
    """Each command and the first line of its module's docstring, read without importing anything."""
    commands = {}
    for file in sorted(FOLDER.glob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if any(_defines_command(node) for node in tree.body):
            commands[file.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return commands


def _defines_command(node: ast.stmt) -> bool:
    if isinstance(node, ast.FunctionDef):
        return node.name == "command"
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "command" for target in targets)


class ByFile(Suggesting):
    """A group whose commands are the files beside this one."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All commands by name."""
        return list(found())

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in found():
            return None
        made = importlib.import_module(f"app.cli.{cmd_name}").command
        made.name = cmd_name
        return made  # type: ignore[no-any-return]

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, from the docstrings alone."""
        if not found():
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, text.rstrip(".")) for name, text in found().items()])


@click.group(cls=ByFile, epilog=EPILOG)
@click.version_option(package_name="headgate", message="headgate %(version)s")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings file (default: headgate.toml of the working directory, or HEADGATE_CONFIG).",
)
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Event-driven, durable workflows on Apache Kafka."""
    context.ensure_object(Invocation).config = config


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and end the process."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code. Every error becomes words on standard error."""
    try:
        answer: Any = cli.main(arguments, prog_name="headgate", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else Exit.OK
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.MissingParameter) and error.ctx and (known := examples(error.ctx.command)):
            click.echo(f"Example: {known[0]}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED  # as the shell has it; commands that run until then end with 0 by themselves
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # the reader, such as `head`, has enough
            return Exit.OK
        raise
    except Exception as error:  # noqa: BLE001 the outermost place: it ends the process
        return tell(error)


def examples(command: click.Command) -> list[str]:
    """The command lines under `Example:` or `Examples:` in its help, continued ones as they stand."""
    block = re.search(r"^Examples?:\n((?: +.*\n?)+)", inspect.cleandoc(command.help or ""), re.MULTILINE)
    lines = re.split(r"(?<!\\)\n", block[1]) if block else []
    return [line.strip() for line in lines if line.strip()]


def tell(error: BaseException) -> int:
    """Put an error into words on standard error; returns the exit code that it stands for."""
    code = getattr(error, "exit_code", None)
    if code is None:
        traceback.print_exception(error)
        click.echo(f"headgate: unexpected error: {type(error).__name__}: {error}", err=True)
        return Exit.CRASHED
    for line in str(error).splitlines():
        click.echo(f"{click.style('error:', fg='red', bold=True)} {line}", err=True)
    return int(code)


if __name__ == "__main__":
    main()

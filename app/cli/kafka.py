"""Kafka's own command line tools, with the cluster filled in; `headgate kafka --list` names them."""

import os
import sys

import click

from app.cli import options, output


# Everything after the tool's name is the tool's own, --help included.
@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@options.kafka
@click.option("--list", "wants_list", is_flag=True, help="Name all tools and stop.")
@click.option("--json", "json", is_flag=True, help="With --list: print JSON, one line per tool.")
@click.argument("tool", required=False, metavar="TOOL")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(
    context: click.Context, tool: str | None, arguments: tuple[str, ...], *, wants_list: bool, json: bool
) -> None:
    """Run one of Kafka's own command line tools, with the cluster filled in.

    TOOL is its name without "kafka-" and ".sh"; ARGS are the tool's own. It reads and writes as it does anywhere
    else, and its exit code is the command's. Security is that of the settings, unless ARGS name a cluster of their
    own. Needs a Java, as `headgate dev` does, but no installed Kafka. Where the settings' cluster does not answer, the
    tool is not started, and the exit code is 3.

    \b
    Examples:
      headgate kafka console-producer --topic headgate.events
      headgate kafka console-consumer --topic headgate.results --from-beginning
      headgate kafka topics --describe --topic headgate.events
      headgate kafka consumer-groups --describe --all-groups
    """
    if wants_list:
        _list(json=json)
        return
    if tool is None:
        raise click.MissingParameter(ctx=context, param_hint="'TOOL'", param_type="argument")
    if json:
        raise click.UsageError("--json belongs to --list: what a tool prints is its own, and so are its options.")
    _run(tool, arguments)


def _list(*, json: bool) -> None:
    from app.kafka.tools import TOOLS

    width = max(map(len, TOOLS))
    for tool in TOOLS.values():
        if json:
            output.echo_json({"tool": tool.name, "about": tool.about})
        else:
            click.echo(f"{tool.name:<{width}}  {tool.about}")


def _run(tool: str, arguments: tuple[str, ...]) -> None:
    from app.kafka import clients, tools
    from app.kafka.admin import Admin

    found = tools.find(tool)
    if any(one.partition("=")[0] == "--kafka" for one in arguments):  # no tool of Kafka's has such an option
        raise click.UsageError(f"--kafka belongs before the tool: headgate kafka --kafka HOST:PORT {tool} ...")
    kafka = options.settings().kafka
    if tools.with_bootstrap(found, arguments, bootstrap=kafka.bootstrap) != list(arguments):
        Admin.connect(kafka)  # the tools would say once a second, for a minute or for ever, that nobody is there
    line = tools.command(found, arguments, bootstrap=kafka.bootstrap, client_config=clients.java_config(kafka))
    sys.stdout.flush()
    # The tool becomes this process: its input, output, signals and exit code are those of the command.
    os.execv(line[0], line)

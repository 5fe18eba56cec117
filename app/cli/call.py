"""Start a run of a workflow and print its result."""

import re
from http.client import ACCEPTED
from typing import Final
from urllib.parse import quote

import click

from app.cli import options, output
from app.cli.exits import Exit

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}
_LONGEST_SECONDS: Final = 60.0


def _seconds(_context: click.Context, _option: click.Parameter, text: str) -> float:
    """Read the option --wait. Raises BadParameter."""
    found = _DURATION.fullmatch(text)
    seconds = -1.0 if found is None else float(found[1]) * _UNITS[found[2]]
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise click.BadParameter(f"{text!r} is not a time between 0 and {_LONGEST_SECONDS:g}s, such as 500ms or 10s")
    return seconds


@click.command()
@click.argument("workflow")
@click.argument("data", required=False, metavar="[JSON|-]")
@click.option(
    "--wait",
    default="10s",
    show_default=True,
    callback=_seconds,
    metavar="TIME",
    help="How long to wait for the result: 500ms, 10s, 1m; 0 for not at all.",
)
@click.option("--idempotency-key", metavar="KEY", help="Equal keys are one run, which a repeat gets again.")
@options.setting("--url", "gateway.url", "Gateway to ask (default http://127.0.0.1:8080).", metavar="URL")
@options.as_json
def command(workflow: str, data: str | None, *, wait: float, idempotency_key: str | None, json: bool) -> int:
    """Start a run of WORKFLOW over the gateway, whatever its triggers, and print its result.

    A filter of it is asked as for every event: where it refuses the call, there is no run. A workflow that gathers
    batches is not called.

    JSON is the data of the event that it gets, null without; with `-` it is read from standard input. A run that takes
    longer than --wait goes on, and its id is printed. Exit code 1: it failed, was rejected or cancelled.

    \b
    Examples:
      headgate call charge '{"order_id": 42}'
      headgate call charge '{"order_id": 42}' --wait 0 --json | jq -r .run_id
    """
    from app.cli import wishes
    from app.cli.gatewayapi import Gateway, NoGateway
    from app.cli.runs import print_run
    from topics import reserved

    given = wishes.data_of(data)
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    path = f"/api/v1/workflows/{quote(workflow, safe='')}/call?wait={round(wait * 1000)}ms"
    try:
        status, found = Gateway(options.settings()).post(path, given, headers=headers, wait_seconds=wait)
    except NoGateway as missing:
        remedy = f"`headgate send {reserved.start_topic(workflow)}` starts a run without one, and without its result"
        click.echo(f"{click.style('error:', fg='red', bold=True)} {missing}. {remedy}.", err=True)
        return Exit.FAILED
    if json:
        output.echo_json(found)
    elif status == ACCEPTED and found.get("filter_decides"):
        click.echo(
            f"{output.one_line(found.get('run_id'))} goes on, unless the filter of {output.one_line(workflow)} refused "
            f"the call; `headgate explain {output.one_line(found.get('event_id'))}` says which."
        )
    elif status == ACCEPTED:
        click.echo(f"{output.one_line(found.get('run_id'))} goes on; `headgate runs show` has its result.")
    else:
        print_run(found, [], [])
    return Exit.OK if status == ACCEPTED or found.get("status") == "completed" else Exit.FAILED

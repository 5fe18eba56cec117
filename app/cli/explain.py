"""Say what became of an event: where it is, which workflows and waits it met, and why not the others."""

import time
from typing import Any, Final

import click

from app.cli import options, output
from app.cli.exits import Exit

_HOUR_MS: Final = 3_600_000
_WIDEST_WHY: Final = 120


def _span_ms(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Read the option --since. Raises BadParameter."""
    from app.wiring import explaining

    try:
        return explaining.span_ms(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("event_id")
@click.option(
    "--since",
    "since_ms",
    default="24h",
    show_default=True,
    callback=_span_ms,
    metavar="SPAN",
    help="How far back to look for the event and for runs that waited: 30m, 24h, 7d.",
)
@options.kafka
@options.as_json
def command(event_id: str, *, since_ms: int, json: bool) -> int:
    """Say what became of the event EVENT_ID, and why nothing did.

    Where it landed and where its home is; whether it is a duplicate, or no event at all; for each announced workflow
    its run, or why there is none; and the runs that waited on its topic. EVENT_ID is the id that its producer gave it,
    or its place, `<partition>-<offset>`, which is found at once. Ids are looked for in what is not older than --since;
    of runs that waited, only those are seen that began to wait since then, or since a minute before the event.
    Several events of one id, with other keys or sources, are explained one by one.

    \b
    Examples:
      headgate explain order-42
      headgate explain 3-1741 --json | jq '.workflows[] | select(.became == "no match") | .why'
    """
    from app.cli import cluster
    from app.wiring import explaining

    target = cluster.connect()

    def odd(key: bytes) -> None:
        output.warn(f"The announcement of {key!r} is no JSON object; it is left out.")

    with output.progress("records") as show:
        reader = explaining.Reader(
            settings=target.settings, admin=target.admin, now_ms=round(time.time() * 1000), show=show, odd=odd
        )
        found = reader.explain(event_id, since_ms=since_ms)
    if not found:
        hours = f"{since_ms / _HOUR_MS:g} h"
        message = (
            f"There is no event {event_id!r} in what was appended in the last {hours}. Look further back with --since "
            "7d; `headgate tail events --from-start` shows what is kept."
        )
        click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
        return Exit.FAILED
    for number, answer in enumerate(found):
        if json:
            output.echo_json(answer)
        elif "malformed" in answer:
            _print_malformed(answer)
        else:
            click.echo("\n" * (number > 0), nl=False)
            _print(answer)
    return Exit.OK


# --- what is shown --------------------------------------------------------------------------------------------------


def _print_malformed(answer: dict[str, Any]) -> None:
    wrong = answer["malformed"]
    output.fields(
        {
            "record": f"{answer['partition']}-{answer['offset']}",
            "appended": answer["appended_at"],
            "no event": f"{wrong['type']}: {wrong['message']}",
            "remedy": wrong["remedy"],
            "dead letter": "written" if answer["dead_letters"] else "not yet",
        }
    )


def _print(answer: dict[str, Any]) -> None:
    event, original = answer["event"], answer["duplicate_of"]
    output.fields(
        {
            "event": event["id"],
            "topic": event["topic"],
            "type": event["event_type"],
            "key": event["key"],
            "source": event["source"] or None,
            "landed": _place(event),
            "home": f"partition {event['home']}, by {event['home_by']}",
            "duplicate of": None if original is None else _place(original),
            "repeated by": "; ".join(map(_place, answer["repeated_by"])) or None,
        }
    )
    for letter in answer["dead_letters"]:
        click.echo(f"\ndead letter  {output.one_line(letter['code'])}: {output.one_line(letter['reason'])}")
        click.echo(f"remedy       {output.one_line(letter['remedy'])}")
    click.echo()
    if answer["workflows"]:
        rows = [(one["workflow"], one["became"], one["run_id"], one["why"]) for one in answer["workflows"]]
        output.table(("workflow", "became", "run", "why"), rows, widest=_WIDEST_WHY)
    else:
        click.echo("No worker has announced a workflow.")
    if answer["waits"]:
        click.echo()
        rows = [(one["run_id"], one["step"], one["became"], one["why"]) for one in answer["waits"]]
        output.table(("waiting run", "step", "became", "why"), rows, widest=_WIDEST_WHY)
    click.echo(
        f"\nRuns that began to wait before {answer['waits_from']} were not looked at; a longer --since, such as 30d, "
        "looks further back."
    )


def _place(place: dict[str, Any]) -> str:
    return f"partition {place['partition']}, offset {place['offset']}, at {place['appended_at']}"

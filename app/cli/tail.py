"""Show records as they come: events, results, facts of runs, dead letters."""

import base64
from typing import TYPE_CHECKING, Any

import click
import orjson

from app.cli import options, output
from topics.fields import opens_beyond_depth

if TYPE_CHECKING:
    from app.kafka.records import Record
    from topics.patterns import Pattern

TOPICS = ("events", "results", "runs", "dlq")


@click.command()
@click.argument("what", type=options.Choice(TOPICS))
@click.option("--from-start", is_flag=True, help="Begin with the oldest record that is kept, not with the next one.")
@click.option("--follow/--no-follow", default=True, help="Wait for what comes (default), or end with what is there.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N records.")
@click.option("--topic", metavar="PATTERN", help="Only events on logical topics that match, such as 'tech-feed/*'.")
@options.kafka
@options.as_json
def command(what: str, *, from_start: bool, follow: bool, limit: int | None, topic: str | None, json: bool) -> None:
    """Show records of headgate.WHAT as they come; Ctrl-C ends it.

    \b
      events   what was produced, whatever its form
      results  one line per finished run
      runs     what happens to runs that take their time
      dlq      what was refused, why, and how to mend it

    Looking changes nothing: no offset moves. With --json each record is one line with its place, key, headers and
    value; a value that is not JSON is text, or base64 where it is not UTF-8. Headers are null where the name of one is
    not UTF-8.

    \b
    Examples:
      headgate tail results --from-start
      headgate tail events --topic 'tech-feed/*'
      headgate tail dlq --from-start --no-follow --json | jq -r '.value | .code + ": " + .remedy'
    """
    from app.cli import cluster
    from app.kafka.records import Reader
    from topics import catalog

    wanted = _wanted(what, topic)
    target = cluster.connect()
    kafka_topic = catalog.qualified(target.kafka.prefix, what)
    show = _show_json if json else _LINES[what]
    count = 0
    try:
        with Reader(target.kafka, target.admin, kafka_topic, from_start=from_start) as reader:
            if follow and not json:
                output.note(f"Following {kafka_topic}; Ctrl-C ends.")
            for record in reader.following() if follow else reader.existing():
                if record is None or not _is_wanted(record, wanted):
                    continue
                show(record)
                count += 1
                if count == limit:
                    return
    except KeyboardInterrupt:
        return


def _wanted(what: str, topic: str | None) -> "Pattern | None":
    from topics.patterns import Pattern, PatternError

    if topic is None:
        return None
    if what != "events":
        raise click.UsageError(f"--topic chooses among events; {what} have none. Take `jq` on --json.")
    try:
        return Pattern.parse(topic)
    except PatternError as error:
        raise click.UsageError(str(error)) from None


def _is_wanted(record: "Record", wanted: "Pattern | None") -> bool:
    """Whether an event is on a topic that is wanted, whatever its form; what is no event is on none."""
    from topics import codec
    from topics.malformed import Malformed

    if wanted is None:
        return True
    try:
        event = codec.decode(
            record.value,
            record.key,
            record.headers,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            max_bytes=None,
        )
    except Malformed:
        return False
    return wanted.matches(event.topic)


def _show_json(record: "Record") -> None:
    output.echo_json(
        {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "at": _time(record),
            "key": _readable(record.key),
            "headers": None if record.has_odd_headers else {name: _readable(one) for name, one in record.headers},
            "value": _json_or_text(record.value),
        }
    )


def _time(record: "Record") -> str:
    from topics.timestamps import rfc3339

    return rfc3339(record.timestamp_ms)


def _readable(raw: bytes | None) -> str | None:
    if raw is None:
        return None
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(raw).decode()


def _json_or_text(raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        value = orjson.loads(raw)
        if opens_beyond_depth(raw, len(raw), len(raw)):
            orjson.dumps([value])  # as it will be written, within the record
    except (orjson.JSONDecodeError, TypeError):
        return _readable(raw)
    return value


def _place(record: "Record") -> str:
    return click.style(f"{_time(record)[11:23]} {record.partition}-{record.offset}".ljust(20), dim=True)


def _event_line(record: "Record") -> None:
    value = _json_or_text(record.value)
    topic, data = _readable(dict(record.headers).get("ce_type")), value
    if isinstance(value, dict):
        topic = value.get("topic") or value.get("name") or value.get("type") or topic
        data = next((value[name] for name in ("data", "payload") if name in value), value)
    key = "" if record.key is None else click.style(f" [{output.one_line(_readable(record.key))}]", dim=True)
    name = click.style(output.one_line(topic), fg="cyan") if topic else click.style("?", fg="yellow")
    click.echo(f"{_place(record)} {name}{key} {output.one_line(data)}")


def _result_line(record: "Record") -> None:
    value = _object(record)
    status = output.one_line(value.get("status"))
    error = value.get("error")
    outcome = f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else value.get("result")
    coloured = click.style(status.ljust(9), fg=output.COLOURS.get(status))
    click.echo(f"{_place(record)} {coloured} {output.one_line(value.get('run_id'))} {output.one_line(outcome)}")


def _fact_line(record: "Record") -> None:
    value = _object(record)
    error = value.get("error")
    known = {"fact", "run_id", "workflow_id", "workflow_version", "at", "events", "error"}
    rest = {name: content for name, content in value.items() if name not in known and content is not None}
    if isinstance(error, dict):
        rest["error"] = f"{error.get('type')}: {error.get('message')}"
    fact = click.style(output.one_line(value.get("fact")).ljust(13), fg="cyan")
    click.echo(f"{_place(record)} {fact} {output.one_line(value.get('run_id'))} {output.one_line(rest)}")


def _dead_letter_line(record: "Record") -> None:
    value = _object(record)
    code = click.style(output.one_line(value.get("code")), fg="red")
    click.echo(f"{_place(record)} {code} {output.one_line(value.get('reason'))}")
    click.echo(f"{'':20} {click.style('remedy', dim=True)} {output.one_line(value.get('remedy'))}")


def _object(record: "Record") -> dict[str, Any]:
    value = _json_or_text(record.value)
    return value if isinstance(value, dict) else {"value": value}


_LINES = {"events": _event_line, "results": _result_line, "runs": _fact_line, "dlq": _dead_letter_line}

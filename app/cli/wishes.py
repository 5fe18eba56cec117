"""What people ask of runs: events on Headgate's own logical topics, written straight to Kafka as `headgate send` does.

Called by `headgate runs resume`, `cancel` and `retry`.
"""

import re
import sys
from typing import Any, Final

import click
import orjson

from app.cli import cluster, output
from app.kafka.records import TopicMissing, Writer, Written
from topics import catalog, codec, keys
from topics.malformed import Malformed

_RUN_ID: Final = re.compile(r"[^:]+:[0-9a-f]{24}")


def checked_run_id(text: str) -> str:
    """Return `text` if it can be a run's id. Raises UsageError."""
    if _RUN_ID.fullmatch(text) is None:
        raise click.UsageError(
            f"{text!r} is no run id: <workflow id>:<24 hexadecimal digits>. `headgate runs list` shows those of runs."
        )
    return text


def data_of(text: str | None) -> Any:
    """Return the JSON of an argument, of standard input for `-`, or None without one. Raises UsageError."""
    if text == "-":
        text = sys.stdin.read()
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(
            f"Nothing was sent: it is not JSON ({error}). Write an object as '{{\"a\": 1}}', a text as '\"text\"'."
        ) from None


def send(topic: str, run_id: str, data: Any, *, said: str, json: bool) -> None:
    """Send the event with the run's id as its key, wait until Kafka has it, and say so.

    Raises UsageError, KafkaUnreachable, TopicMissing, NotWritten.
    """
    try:
        key, value, headers = codec.produce_form(topic, data, key=run_id)
    except Malformed as error:
        raise click.UsageError(f"Nothing was sent: {error}.") from None
    target = cluster.connect()
    events = catalog.qualified(target.kafka.prefix, "events")
    found = target.admin.topics([events])
    if events not in found:
        raise TopicMissing(events)

    def sent(place: Written) -> None:
        event_id = f"{place.partition}-{place.offset}"
        if json:
            output.echo_json({"id": event_id, "topic": topic, "partition": place.partition, "offset": place.offset})
        else:
            click.echo(f"{said} (event {event_id} on {output.one_line(topic)}).")

    writer = Writer(target.kafka)
    home = keys.home(run_id, None, found[events].partitions)
    writer.write(events, key=key, value=value, headers=headers, partition=home, then=sent)
    writer.flush()

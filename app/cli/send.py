"""Send events to headgate.events."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import orjson

from app.cli import options, output
from app.cli.exits import Exit

if TYPE_CHECKING:
    from app.cli.cluster import Cluster
    from app.kafka.records import Written


@click.command()
@click.argument("topic")
@click.argument("data", required=False, metavar="[JSON|-]")
@click.option("--key", help="Events with the same key are processed in one order; it chooses the partition.")
@click.option("--type", "event_type", help="Type of the event, such as created.")
@click.option("--id", "event_id", help="Id of the event: the same id again is dropped as a duplicate.")
@options.kafka
@options.as_json
def command(
    topic: str, data: str | None, *, key: str | None, event_type: str | None, event_id: str | None, json: bool
) -> int:
    """Send one event to the logical TOPIC, or one per line of standard input with `-`.

    Waits until Kafka has the event in all copies that are in sync, then prints its id, partition and offset, and warns
    where no workflow listens to TOPIC: it is what workflows trigger on, and no Kafka topic. Without JSON the event's
    data is null. Without --id the event is named after its place.

    \b
    Examples:
      headgate send orders/created '{"order_id": 42}' --key customer-7
      headgate send orders/created --id order-42 '{"order_id": 42}'
      jq -c '.[]' orders.json | headgate send orders/created -
    """
    from app.cli import cluster
    from app.kafka.records import TopicMissing, Writer
    from topics import catalog, codec, keys
    from topics.malformed import Malformed

    if data == "-" and event_id is not None:
        raise click.UsageError("--id names one event, and `-` sends many. Send them one by one, or leave --id out.")
    target = cluster.connect()
    events = catalog.qualified(target.kafka.prefix, "events")
    found = target.admin.topics([events])
    if events not in found:
        raise TopicMissing(events)
    writer, shown, refused = Writer(target.kafka), _Shown(json=json), 0
    many = data == "-"
    with output.progress("sent") as show:
        for number, text in _numbered(sys.stdin) if many else [(1, data)]:
            try:
                record_key, value, headers = codec.produce_form(
                    topic, _parsed(text), event_type=event_type, event_id=event_id, key=key
                )
            except (orjson.JSONDecodeError, Malformed) as error:
                _refuse(number if many else None, error)
                refused += 1
                continue
            home = key if key is not None else event_id
            partition = None if home is None else keys.partition_of(home.encode(), found[events].partitions)
            writer.write(
                events,
                key=record_key,
                value=value,
                headers=headers,
                partition=partition,
                then=lambda place: shown.add(event_id, place),
            )
            show(number)
        writer.flush()
    shown.end()
    if shown.count:
        _warn_if_unheard(target, topic)
    return Exit.FAILED if refused else Exit.OK


def _warn_if_unheard(target: "Cluster", topic: str) -> None:
    from app.cli.workflows import announced
    from app.kafka.admin import AdminError
    from app.kafka.clients import KafkaUnreachable
    from app.kafka.records import TopicMissing
    from app.wiring.listening import unheard

    with suppress(KafkaUnreachable, AdminError, TopicMissing):  # the event is sent, whatever can be said of it
        if warning := unheard(topic, announced(target).values()):
            output.warn(warning)


def _numbered(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The lines that hold something, by their number in the input."""
    yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _parsed(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _refuse(line: int | None, error: Exception) -> None:
    """One event alone is a wrong argument; a line among many is passed over, and the command fails at its end."""
    if isinstance(error, orjson.JSONDecodeError):
        fact = f"it is not JSON ({error}). Write an object as '{{\"a\": 1}}', a text as '\"text\"'"
    else:
        fact = str(error)
    if line is None:
        raise click.UsageError(f"The event was not sent: {fact}.")
    output.warn(f"line {line} was not sent: {fact}.")


class _Shown:
    """Prints where events landed: JSON as they are acknowledged, for people a table at the end."""

    def __init__(self, *, json: bool) -> None:
        self._json, self._rows = json, list[tuple[str, int, int]]()
        self.count = 0

    def add(self, event_id: str | None, place: "Written") -> None:
        self.count += 1
        name = event_id or f"{place.partition}-{place.offset}"
        if self._json:
            output.echo_json({"id": name, "partition": place.partition, "offset": place.offset})
        else:
            self._rows.append((name, place.partition, place.offset))

    def end(self) -> None:
        if self._rows:
            output.table(("id", "partition", "offset"), self._rows)

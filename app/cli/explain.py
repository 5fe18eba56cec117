"""Say what became of an event: where it is, which workflows and waits it met, and why not the others."""

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from app.cli import options, output
from app.cli.exits import Exit

if TYPE_CHECKING:
    from app.cli.cluster import Cluster
    from app.cli.explanation import Evidence
    from app.kafka.records import Record
    from topics.envelope import Envelope

_PLACE: Final = re.compile(r"(\d{1,9})-(\d{1,18})", re.ASCII)
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SOURCE: Final = ("topic", "partition", "offset")
_SKEW_MS: Final = 60_000
"""How far the clocks of brokers may differ: what came of an event is looked for from so long before it."""
_WIDEST_WHY: Final = 120


def _span_ms(_context: click.Context, _option: click.Parameter, text: str) -> int:
    """Read the option --since. Raises BadParameter."""
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no span of time, such as 30m, 24h or 7d")
    return round(float(found[1]) * _UNITS[found[2]])


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
    or its place, `<partition>-<offset>`, which is found at once. Ids are looked for in what is not older than --since.
    Several events of one id, with other keys or sources, are explained one by one.

    \b
    Examples:
      headgate explain order-42
      headgate explain 3-1741 --json | jq '.workflows[] | select(.became == "no match") | .why'
    """
    from app.cli import cluster, explanation

    target = cluster.connect()
    now_ms = round(time.time() * 1000)
    place = _PLACE.fullmatch(event_id)
    at_place = None if place is None else _at_place(target, int(place[1]), int(place[2]))
    if isinstance(at_place, dict):
        _show_malformed(at_place, json=json)
        return Exit.OK
    found = list(_like(target, event_id, at_place, since_ms=since_ms, now_ms=now_ms))
    if not found:
        hours = f"{since_ms / _UNITS['h']:g} h"
        message = (
            f"There is no event {event_id!r} in what was appended in the last {hours}. Look further back with --since "
            "7d; `headgate tail events --from-start` shows what is kept."
        )
        click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
        return Exit.FAILED
    for number, (event, equal) in enumerate(found):
        answer = explanation.explained(_evidence(target, event, equal, since_ms=since_ms, now_ms=now_ms))
        if json:
            output.echo_json(answer)
        else:
            click.echo("\n" * (number > 0), nl=False)
            _print(answer)
    return Exit.OK


# --- what is read ---------------------------------------------------------------------------------------------------


def _at_place(target: "Cluster", partition: int, offset: int) -> "Envelope | dict[str, Any] | None":
    """The event at a place; what is known of a record that is none; None where there is nothing."""
    from app.kafka import records
    from topics import catalog, facts
    from topics.malformed import Malformed
    from topics.timestamps import rfc3339

    topic = catalog.qualified(target.kafka.prefix, "events")
    record = records.record_at(target.kafka, target.admin, topic, partition=partition, offset=offset)
    if record is None:
        return None
    try:
        return _event(record)
    except Malformed as wrong:
        letters = _letters(target, {(partition, offset)}, record.timestamp_ms)
        return {
            "partition": partition,
            "offset": offset,
            "appended_at": rfc3339(record.timestamp_ms),
            "malformed": facts.error_of(wrong.code, wrong.reason) | {"remedy": wrong.remedy},
            "dead_letters": letters,
        }


def _like(
    target: "Cluster", event_id: str, at_place: "Envelope | None", *, since_ms: int, now_ms: int
) -> "Iterator[tuple[Envelope, list[Envelope]]]":
    """Each event that is meant, with all that have its id, source and key, the earliest first."""
    from topics import keys

    if at_place is not None and not at_place.explicit:
        yield at_place, [at_place]
        return
    wanted = event_id if at_place is None else at_place.id
    newest_ms = now_ms if at_place is None else at_place.timestamp_ms
    like = defaultdict[bytes, list["Envelope"]](list)
    for event in _with_id(target, wanted, newest_ms - since_ms):
        like[keys.digest_of(event)].append(event)
    for equal in like.values():
        equal.sort(key=lambda one: (one.timestamp_ms, one.partition, one.offset))
    if at_place is not None:
        yield at_place, like.get(keys.digest_of(at_place)) or [at_place]
        return
    for equal in like.values():
        yield equal[0], equal


def _with_id(target: "Cluster", event_id: str, since_ms: int) -> "Iterator[Envelope]":
    from topics.malformed import Malformed

    needle = event_id.encode()
    for record in _since(target, "events", since_ms):
        # Nearly all are others: only what may hold the id is decoded, and JSON may write it with escapes.
        value = record.value or b""
        if needle in value or b"\\" in value or any(needle == content for _, content in record.headers):
            try:
                event = _event(record)
            except Malformed:
                continue
            if event.explicit and event.id == event_id:
                yield event


def _event(record: "Record") -> "Envelope":
    from topics import codec

    return codec.decode(
        record.value,
        record.key,
        record.headers,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        max_bytes=None,
    )


def _since(target: "Cluster", name: str, at_ms: int) -> "Iterator[Record]":
    from app.kafka import records
    from topics import catalog

    topic = catalog.qualified(target.kafka.prefix, name)
    with output.progress(topic) as show:
        for number, record in enumerate(records.since(target.kafka, target.admin, topic, max(0, at_ms)), 1):
            if number % 1000 == 0:
                show(number)
            yield record


def _letters(target: "Cluster", places: set[tuple[int, int]], since_ms: int) -> list[dict[str, Any]]:
    from topics import catalog

    events = catalog.qualified(target.kafka.prefix, "events")
    sources = {(events, partition, offset) for partition, offset in places}
    found = []
    for record in _since(target, "dlq", since_ms - _SKEW_MS):
        letter = _object(record)
        source = letter.get("source")
        if isinstance(source, dict) and tuple(source.get(one) for one in _SOURCE) in sources:
            found.append(letter)
    return found


def _evidence(
    target: "Cluster", event: "Envelope", equal: "list[Envelope]", *, since_ms: int, now_ms: int
) -> "Evidence":
    from app.cli import workflows
    from app.cli.explanation import Evidence
    from topics import catalog, keys

    heard = workflows.heard(target)
    events = catalog.qualified(target.kafka.prefix, "events")
    places = {(one.partition, one.offset) for one in equal}
    runs = {keys.run_id(one, keys.digest_of(event)) for one in heard.workflows}
    first_ms = equal[0].timestamp_ms
    facts, starts = _facts(target, event.topic, runs, places, min(first_ms - _SKEW_MS, now_ms - since_ms))
    return Evidence(
        event=event,
        equal=equal,
        partitions=target.admin.topics([events])[events].partitions,
        dedup_ms=round(target.settings.dedup.window_hours * _UNITS["h"]),
        letters=_letters(target, places, first_ms),
        announced=heard.workflows,
        loaders={one: [worker.instance_id for worker in heard.loaders(one)] for one in heard.workflows},
        results=list(_results(target, runs, places, first_ms - _SKEW_MS)),
        facts=facts,
        starts=starts,
    )


def _results(
    target: "Cluster", runs: set[str], places: set[tuple[int, int]], since_ms: int
) -> Iterator[dict[str, Any]]:
    """The results of runs that the event started, by themselves or in a batch."""
    from app.cli.explanation import holds

    for record in _since(target, "results", since_ms):
        result = _object(record)
        if result.get("run_id") in runs or holds(result.get("events"), places):
            yield result


def _facts(
    target: "Cluster", topic: str, runs: set[str], places: Iterable[tuple[int, int]], since_ms: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """The facts of runs that have to do with the event, and when runs began."""
    from app.cli.explanation import concerns, holds
    from topics.facts import RunFact

    kept: dict[str, list[dict[str, Any]]] = {}
    starts: dict[str, str] = {}
    for record in _since(target, "runs", since_ms):
        fact = _object(record)
        run_id = str(fact.get("run_id"))
        if fact.get("fact") == RunFact.STARTED:
            starts[run_id] = str(fact.get("at"))
        if run_id in kept:
            kept[run_id].append(fact)
        elif run_id in runs or holds(fact.get("events"), places) or concerns(fact, topic):
            kept[run_id] = [fact]
    return kept, starts


def _object(record: "Record") -> dict[str, Any]:
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


# --- what is shown --------------------------------------------------------------------------------------------------


def _show_malformed(answer: dict[str, Any], *, json: bool) -> None:
    if json:
        output.echo_json(answer)
        return
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


def _place(place: dict[str, Any]) -> str:
    return f"partition {place['partition']}, offset {place['offset']}, at {place['appended_at']}"

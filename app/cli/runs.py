"""List runs, show one, resume, cancel and retry them."""

import difflib
from collections.abc import Callable, Mapping
from http.client import NOT_FOUND
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

import click

from app.cli import options, output
from app.cli.exits import Exit
from app.cli.groups import Suggesting
from topics import reserved
from topics.timestamps import milliseconds
from topics.told import STATUSES

if TYPE_CHECKING:
    from app.cli.cluster import Cluster
    from app.cli.gatewayapi import Gateway

_WIDEST_WHAT: Final = 160
Answer = TypeVar("Answer")
Function = TypeVar("Function", bound=Callable[..., Any])


def _where(function: Function) -> Function:
    url = options.setting("--url", "gateway.url", "Gateway to ask (default http://127.0.0.1:8080).", metavar="URL")
    kafka = options.setting("--kafka", "kafka.bootstrap", "Read from Kafka, do not ask a gateway.", metavar="HOST:PORT")
    return url(kafka(options.as_json(function)))


@click.group(cls=Suggesting)
def command() -> None:
    """List runs, show one, resume, cancel and retry them.

    `list` and `show` ask the gateway, which has an index. Where none answers, the same is read from headgate.results
    and headgate.runs in Kafka, which takes longer. The others send an event to Kafka.

    \b
    Example:
      headgate runs list --status failed
    """


@command.command("list")
@click.option("--workflow", metavar="ID", help="Only runs of this workflow.")
@click.option(
    "--status", type=options.Choice(STATUSES), metavar="STATUS", help=f"Only runs that are {', '.join(STATUSES)}."
)
@click.option("--key", help="Only runs of events with this key.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="At most so many.")
@_where
def list_runs(*, workflow: str | None, status: str | None, key: str | None, limit: int, json: bool) -> None:
    """List runs, newest first.

    \b
    Examples:
      headgate runs list --workflow on_order_created --limit 10
      headgate runs list --status failed --json | jq -r .run_id
    """
    query = {"workflow": workflow, "status": status, "key": key, "limit": str(limit)}

    def from_kafka(cluster: "Cluster") -> list[Any]:
        from app.cli import runlog

        return runlog.summaries(cluster, workflow=workflow, status=status, key=key, limit=limit)

    found = _ask(lambda gateway: _runs(gateway.get("/api/v1/runs", query)), from_kafka)
    if workflow is not None and not found:
        _warn_if_unknown(workflow)
    if json:
        for run in found:
            output.echo_json(run)
    elif not found:
        click.echo("No runs." if not any((workflow, status, key)) else "No runs that match.")
    else:
        output.table(("status", "run", "key", "attempts", "started", "took"), [_row(run) for run in found])


@command.command()
@click.argument("run_id", metavar="ID")
@_where
def show(run_id: str, *, json: bool) -> int:
    """Show one run: its events, its steps, its result or error, and what happened on the way.

    Of a step: how long it was queued (from when it was asked for until its last attempt began) and how long it took,
    what it waits for, since when and until when, and the events that it received or published, and the runs that it
    started: of a parent that waits, one of these holds it up. A function is told of when it ends, or
    once it has been executed for a second.

    A run is known as long as headgate.runs keeps what happened to it (30 days). Of one that waits for longer it is told
    again each week when it began and what it waits for; what it did before is forgotten.

    \b
    Examples:
      headgate runs show on_order_created:4f1c0ffee0ddba11decade00
      headgate runs show on_order_created:4f1c0ffee0ddba11decade00 --json | jq '.steps[] | select(.state == "open")'
    """

    def from_kafka(cluster: "Cluster") -> dict[str, Any] | None:
        from app.cli import runlog

        return runlog.one(cluster, run_id)

    def from_gateway(gateway: "Gateway") -> dict[str, Any] | None:
        from app.cli.gatewayapi import GatewayRefused

        try:
            return gateway.get(f"/api/v1/runs/{quote(run_id, safe='')}")
        except GatewayRefused as refused:
            # What the gateway says to a program; while it is behind, it says something else, which holds here as well.
            if refused.status == NOT_FOUND and refused.remedy.startswith("GET "):
                return None
            raise

    found = _ask(from_gateway, from_kafka)
    if found is None:
        message = f"There is no run {run_id!r}. `headgate runs list` shows those that are kept."
        click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
        return Exit.FAILED
    if json:
        output.echo_json({name: found.get(name, []) for name in ("run", "steps", "facts")})
    else:
        print_run(found["run"], found.get("steps") or [], found["facts"])
    return Exit.OK


@command.command()
@click.argument("run_id", metavar="RUN")
@click.argument("step", metavar="STEP")
@click.argument("data", required=False, metavar="[JSON|-]")
@options.kafka
@options.as_json
def resume(run_id: str, step: str, data: str | None, *, json: bool) -> None:
    """Resume a step of a run that waits for somebody's decision, with JSON as its value (null without).

    With `-` the JSON is read from standard input. The first value counts; a step that waits no more ignores it, and one
    that is yet to come finds it.

    \b
    Example:
      headgate runs resume on_order_created:4f1c0ffee0ddba11decade00 approval '{"approved": true}'
    """
    from app.cli import wishes

    topic = reserved.resume_topic(wishes.checked_run_id(run_id), step)
    said = f"Asked step {output.one_line(step)} of {output.one_line(run_id)} to go on"
    wishes.send(topic, run_id, wishes.data_of(data), said=said, json=json)


@command.command()
@click.argument("run_id", metavar="RUN")
@options.kafka
@options.as_json
def cancel(run_id: str, *, json: bool) -> None:
    """Cancel a run, wherever it is. One that has ended stays as it is.

    \b
    Example:
      headgate runs cancel on_order_created:4f1c0ffee0ddba11decade00
    """
    from app.cli import wishes

    said = f"Asked for the end of {output.one_line(run_id)}"
    wishes.send(reserved.CANCEL, wishes.checked_run_id(run_id), None, said=said, json=json)


@command.command()
@click.argument("run_id", metavar="RUN")
@options.kafka
@options.as_json
def retry(run_id: str, *, json: bool) -> None:
    """Let a stuck run go on, by the code that is loaded now. One that is not stuck stays as it is.

    \b
    Examples:
      headgate runs retry on_order_created:4f1c0ffee0ddba11decade00
      headgate runs list --status stuck --json | jq -r .run_id | xargs -n 1 headgate runs retry
    """
    from app.cli import wishes

    said = f"Asked {output.one_line(run_id)} to go on if it is stuck"
    wishes.send(reserved.RETRY, wishes.checked_run_id(run_id), None, said=said, json=json)


def _ask(from_gateway: Callable[["Gateway"], Answer], from_kafka: Callable[["Cluster"], Answer]) -> Answer:
    """From the gateway; from Kafka where no gateway answers, or where `--kafka` says so."""
    from app.cli.gatewayapi import Gateway, NoGateway

    settings = options.settings()
    if settings.source("kafka.bootstrap") != "command line":
        try:
            return from_gateway(Gateway(settings))
        except NoGateway as missing:
            output.note(f"{missing}; reading from Kafka at {settings.kafka.bootstrap}.")
    from app.cli import cluster

    return from_kafka(cluster.connect())


def _warn_if_unknown(workflow: str) -> None:
    """Runs of a workflow that nobody knows are none, whatever its right name has."""

    def from_kafka(cluster: "Cluster") -> list[str]:
        from app.cli.workflows import announced

        return list(announced(cluster))

    known = _ask(lambda gateway: [one["id"] for one in gateway.get("/api/v1/workflows")["workflows"]], from_kafka)
    if workflow not in known:
        near = difflib.get_close_matches(workflow, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else "`headgate workflows list` shows those that are known"
        output.warn(f"no workflow {workflow!r} is announced; {remedy}")


def _runs(answer: Mapping[str, Any]) -> list[Any]:
    state = answer.get("read_model") or {}
    if state.get("rebuilding"):
        output.note(f"The gateway is still reading older runs ({state.get('behind_records')} records to go).")
    found = answer["runs"]
    return found if isinstance(found, list) else []


def _row(run: Mapping[str, Any]) -> tuple[object, ...]:
    started = run.get("started_at")
    return (run["status"], run["run_id"], run.get("key"), run.get("attempts"), started, _took(run))


def _took(run: Mapping[str, Any]) -> str | None:
    try:
        return _duration(milliseconds(run["finished_at"]) - milliseconds(run["started_at"]))
    except (KeyError, TypeError, ValueError):  # not known yet, or no time
        return None


def _duration(ms: float | None) -> str | None:
    if ms is None:
        return None
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def print_run(run: Mapping[str, Any], steps: list[Mapping[str, Any]], facts: list[Mapping[str, Any]]) -> None:
    """Print a run for people."""
    output.fields(
        {
            "run": run.get("run_id"),
            "workflow": _workflow(run),
            "status": run.get("status"),
            "key": run.get("key"),
            "started": run.get("started_at"),
            "finished": run.get("finished_at"),
            "took": _took(run),
            "attempts": run.get("attempts"),
        }
    )
    if events := _objects(run.get("events")):
        click.echo()
        rows = [(e.get("id"), e.get("topic"), e.get("partition"), e.get("offset")) for e in events]
        output.table(("event", "topic", "partition", "offset"), rows)
    if steps:
        click.echo()
        columns = ("step", "kind", "state", "queued", "took", "attempts", "what")
        output.table(columns, [_step(one) for one in steps], widest=_WIDEST_WHAT)
    if facts:
        click.echo()
        told = [f for f in facts if not str(f.get("fact")).startswith("step_")] if steps else facts
        output.table(("at", "fact", "what"), [(f.get("at"), f.get("fact"), _what(f)) for f in told])
    error = run.get("error")
    if isinstance(error, dict):
        click.echo()
        click.secho(output.one_line(f"{error.get('type')}: {error.get('message')}"), fg="red")
        for line in str(error.get("traceback") or "").splitlines():
            click.echo(output.escaped(line))
    elif error is not None:
        click.secho(f"\n{output.one_line(error)}", fg="red")
    elif "result" in run:
        click.echo("\nresult")
        click.echo(output.pretty_json(run["result"]))


def _workflow(run: Mapping[str, Any]) -> str:
    """Name the workflow, with the version that ran: of a run that is only accepted none has yet."""
    version = run.get("workflow_version")
    return str(run.get("workflow_id")) + ("" if version is None else f" (version {version})")


def _objects(value: object) -> list[Mapping[str, Any]]:
    """The objects of a list. In Kafka there may be anything: it is shown as far as it is what it should be."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _step(step: Mapping[str, Any]) -> tuple[object, ...]:
    queued, took = _duration(step.get("queued_ms")), _duration(step.get("took_ms"))
    known = (step.get("step"), step.get("kind"), step.get("state"), queued, took, step.get("attempts"))
    return (*known, _about(step))


def _about(step: Mapping[str, Any]) -> str:
    """What a step is about, and what became of it."""
    parts = [str(step.get("what"))]
    if step.get("waits_for"):
        parts.append(f"since {step.get('since')}" + (f" until {step['until']}" if step.get("until") else ""))
    if step.get("state") == "running":
        parts.append(f"since {step.get('started_at')}")
    if step.get("received"):
        parts.append("received " + ", ".join(str(one.get("id")) for one in _objects(step["received"])))
    if step.get("refused"):
        parts.append("its filter refused " + ", ".join(str(one.get("id")) for one in _objects(step["refused"])))
    if started := step.get("children"):
        more = f" (the first of {step.get('children_count')})" if len(started) != step.get("children_count") else ""
        parts.append("started " + ", ".join(map(str, started)) + more)
    if step.get("published"):
        parts.append(f"published {step['published']}")
    error = step.get("error")
    if isinstance(error, dict):
        again = f", again at {step['retry_at']}" if step.get("retry_at") else ""
        parts.append(f"{error.get('type')}: {error.get('message')}{again}")
    return "; ".join(parts)


def _what(fact: Mapping[str, Any]) -> object:
    error = fact.get("error")
    if not isinstance(error, dict):
        return fact.get("status")
    again = f", again at {fact['retry_at']}" if fact.get("retry_at") else ""
    return f"{error.get('type')}: {error.get('message')}{again}"

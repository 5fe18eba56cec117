"""Check the whole installation and say how to mend what is wrong."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import UNAUTHORIZED
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli import options, output
from app.cli.exits import Exit
from app.cli.output import Mark

if TYPE_CHECKING:
    from app.cli.cluster import Cluster
    from app.wiring.listening import Heard

_HOUR_MS: Final = 3_600_000
_LOOK_AGAIN_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do, where something is to do."""

    mark: Mark
    check: str
    fact: str
    remedy: str = ""

    def record(self) -> dict[str, str]:
        """As JSON shows it."""
        return {"check": self.check, "mark": self.mark.value, "fact": self.fact, "remedy": self.remedy}


@click.command()
@options.kafka
@options.setting("--url", "gateway.url", "Gateway to ask (default http://127.0.0.1:8080).", metavar="URL")
@options.as_json
def command(*, json: bool) -> int:
    """Check the whole installation and say how to mend what is wrong.

    Looks at the brokers and their version, the topics and their settings, this machine's clock against Kafka's, the
    workers with what they have not read yet, the workflows, the sources and the gateway. It creates and alters
    nothing; for the clock it commits an offset of a group of its own and removes the group again.

    Exits with 0 when nothing fails (warnings are allowed), 1 when something does, 3 when Kafka is not reachable.

    \b
    Examples:
      headgate doctor --kafka kafka-0:9092
      headgate doctor --json | jq '.findings[] | select(.mark != "ok")'
    """
    from app.cli import cluster
    from app.kafka.clients import KafkaUnreachable

    try:
        target = cluster.connect()
    except KafkaUnreachable as error:
        finding = Finding(mark=Mark.FAIL, check="kafka", fact=f"not reachable: {error.reason}", remedy=error.remedy)
        _print([finding], {}, json=json)
        return Exit.UNREACHABLE
    if not json:
        cluster.say_if_development(target)
    findings = [finding for check in CHECKS for finding in _asked(check, target)]
    lag = _lag(target)
    _print(findings, lag, json=json)
    return Exit.FAILED if any(finding.mark is Mark.FAIL for finding in findings) else Exit.OK


def _asked(check: Callable[["Cluster"], Iterator[Finding]], target: "Cluster") -> Iterator[Finding]:
    """One check; what Kafka refuses to tell is a finding of its own, and the other checks go on."""
    from app.kafka.admin import AdminError

    try:
        yield from check(target)
    except AdminError as error:
        yield Finding(mark=Mark.WARN, check=check.__name__.strip("_"), fact=error.fact, remedy=error.remedy)


def _kafka(target: "Cluster") -> Iterator[Finding]:
    from app.kafka.clients import KafkaUnreachable

    for broker in target.admin.brokers():
        name = f"broker {broker.id} at {broker.host}:{broker.port}"
        try:
            version = target.admin.version(broker)
        except KafkaUnreachable as error:
            yield Finding(mark=Mark.FAIL, check="kafka", fact=error.reason, remedy=error.remedy)
            continue
        if version.at_least_4_0:
            yield Finding(mark=Mark.OK, check="kafka", fact=f"{name} is Kafka {version}")
        else:
            remedy = "Upgrade the broker: Headgate needs Kafka 4.0, whose transaction protocol fences old owners"
            yield Finding(mark=Mark.FAIL, check="kafka", fact=f"{name} is Kafka {version}", remedy=remedy)
        yield from _broker_settings(target, name, target.admin.broker_config(broker))


def _broker_settings(target: "Cluster", name: str, config: dict[str, str]) -> Iterator[Finding]:
    worker = target.settings.worker
    if config.get("auto.create.topics.enable") == "true":
        fact = f"{name} creates a topic for every name that somebody mistypes"
        yield Finding(mark=Mark.WARN, check="kafka", fact=fact, remedy="Set auto.create.topics.enable=false on it")
    least = int(config.get("group.min.session.timeout.ms", "0")) / 1000
    if least > worker.session_timeout_seconds:
        fact = f"{name} refuses worker.session_timeout_seconds {worker.session_timeout_seconds:g}"
        remedy = f"Set group.min.session.timeout.ms=6000 on it, or the setting to {least:g}"
        yield Finding(mark=Mark.FAIL, check="kafka", fact=fact, remedy=remedy)
    for setting in ("producer.id.expiration.ms", "transactional.id.expiration.ms"):
        if int(config.get(setting, "604800000")) < 2 * worker.refence_hours * _HOUR_MS:
            fact = f"{name} forgets idle producers ({setting}={config[setting]}) before a worker renews its claim"
            remedy = f"Raise {setting} to 86400000, or lower worker.refence_hours below half of it"
            yield Finding(mark=Mark.FAIL, check="kafka", fact=fact, remedy=remedy)


def _topics(target: "Cluster") -> Iterator[Finding]:
    from app.kafka import provisioning

    wanted = provisioning.wanted(target.kafka)
    found = target.admin.topics([topic.name for topic in wanted])
    differences = provisioning.differences(target.kafka, found)
    missing = [topic.name for topic in wanted if topic.name not in found]
    if missing:
        remedy = "Run `headgate topics apply`"
        yield Finding(mark=Mark.FAIL, check="topics", fact=f"missing: {_listed(missing)}", remedy=remedy)
    for one in (difference for difference in differences if difference.topic in found):
        fact = f"{one.topic}: {one.what} is {one.found}, it should be {one.wanted}"
        yield Finding(mark=Mark(one.severity.value), check="topics", fact=fact, remedy=one.remedy)
    if not differences:
        fact = f"all {len(wanted)} topics are there with the right settings, {target.kafka.partitions} partitions"
        yield Finding(mark=Mark.OK, check="topics", fact=fact)
    for topic in found.values():
        remedy = "Bring back the brokers that hold these copies"
        if topic.offline:
            fact = f"{topic.name}: nobody leads partitions {_listed(topic.offline)}"
            yield Finding(mark=Mark.FAIL, check="topics", fact=fact, remedy=remedy)
        elif topic.out_of_sync:
            fact = f"{topic.name}: copies of partitions {_listed(topic.out_of_sync)} are not in sync"
            yield Finding(mark=Mark.WARN, check="topics", fact=fact, remedy=remedy)


def _answers(target: "Cluster") -> Iterator[Finding]:
    """Whether topics of others can be written to, where runs may send; nothing where they can."""
    from app.wiring import limits

    allowed = limits.of_partition(target.settings).reply_allowed
    for name, numbers in sorted(target.admin.leaderless().items()):
        if allowed(name):
            fact = f"{name}: nobody leads partitions {_listed(numbers)}; what runs send there waits in their journals"
            remedy = "Bring back the brokers that hold these copies; it is sent again until it is there"
            yield Finding(mark=Mark.WARN, check="topics", fact=fact, remedy=remedy)


def _clock(target: "Cluster") -> Iterator[Finding]:
    from topics import catalog

    events = catalog.qualified(target.kafka.prefix, "events")
    if events not in target.admin.topics([events]):
        return  # said by the check of the topics
    difference = target.admin.clock_difference_seconds(events)
    worker = target.settings.worker
    if difference is None:
        fact = "Kafka does not let this user commit an offset and read it back, so the clocks were not compared"
        yield Finding(mark=Mark.WARN, check="clock", fact=fact, remedy="Compare them by hand, or ask as another user")
    elif abs(difference) <= worker.clock_warn_seconds:
        yield Finding(mark=Mark.OK, check="clock", fact="this machine's clock agrees with Kafka's")
    else:
        side = "behind" if difference > 0 else "ahead of"
        stops = abs(difference) > worker.clock_stop_seconds
        yield Finding(
            mark=Mark.FAIL if stops else Mark.WARN,
            check="clock",
            fact=f"this machine's clock is {abs(difference):.1f} s {side} Kafka's"
            + (", and a worker here would not start" if stops else ""),
            remedy="Synchronise the clocks of both, for example with chrony",
        )


def _workers(target: "Cluster") -> Iterator[Finding]:
    from topics import catalog

    group = target.admin.group(target.settings.consumer_group)
    members = [member for member in group.members if member.partitions]
    if not group.members:
        remedy = "Start one: `headgate worker PATH`, or `headgate dev PATH` for everything on this machine"
        fact = f"no worker is in the group {group.name}, so nothing is processed"
        yield Finding(mark=Mark.WARN, check="workers", fact=fact, remedy=remedy)
        return
    events = catalog.qualified(target.kafka.prefix, "events")
    for member in group.members:
        # Of the topics that go together, one stands for all of them.
        count = len(member.partitions.get(events, ()))
        fact = f"{member.instance_id} from {member.host.strip('/')} has {count} of {target.kafka.partitions} partitions"
        yield Finding(mark=Mark.OK, check="workers", fact=fact)
    owned = {number for member in members for number in member.partitions.get(events, ())}
    ownerless = [number for number in range(target.kafka.partitions) if number not in owned]
    if ownerless:
        fact = f"no worker has partitions {_listed(ownerless)} of {events} (the group is {group.state})"
        remedy = "The group may be rebalancing: ask again in some seconds; else look at the workers' logs"
        yield Finding(mark=Mark.WARN, check="workers", fact=fact, remedy=remedy)


def _transactions(target: "Cluster") -> Iterator[Finding]:
    """Whether a producer's open transaction holds up whoever reads: one that is still there at a second look."""
    from topics import catalog

    names = [catalog.qualified(target.kafka.prefix, name) for name in catalog.CATALOG]
    counts = {name: topic.partitions for name, topic in target.admin.topics(names).items()}
    first = _held_up(target, counts)
    if not first:
        return
    time.sleep(_LOOK_AGAIN_SECONDS)
    again = _held_up(target, counts)
    for (name, partition), (stable, behind) in sorted(again.items()):
        if first.get((name, partition), (None, 0))[0] != stable:
            continue
        fact = f"a transaction is open in {name}-{partition} at offset {stable}; it holds up {behind} records"
        remedy = (
            "Its producer has to end it; if that one is gone: `headgate kafka transactions abort "
            f"--topic {name} --partition {partition} --start-offset {stable}`"
        )
        yield Finding(mark=Mark.WARN, check="topics", fact=fact, remedy=remedy)


def _held_up(target: "Cluster", counts: dict[str, int]) -> dict[tuple[str, int], tuple[int, int]]:
    """Where the open transaction begins and how many offsets are behind that, per partition that has one."""
    written = target.admin.written_offsets(counts)
    stable = target.admin.end_offsets(counts)
    return {place: (at, written[place] - at) for place, at in stable.items() if at < written[place]}


def _workflows(target: "Cluster") -> Iterator[Finding]:
    from app.cli.workflows import heard
    from app.kafka.records import TopicMissing

    try:
        found = heard(target)
    except TopicMissing:
        return  # said by the check of the topics
    names = [name for name, record in found.workflows.items() if not record.get("retired_at")]
    if names:
        yield Finding(mark=Mark.OK, check="workflows", fact=f"{len(names)} announced: {_listed(names)}")
        yield from _loaded(target, names, found)
    else:
        remedy = "Start a worker with a file that has some: `headgate worker PATH`"
        yield Finding(mark=Mark.WARN, check="workflows", fact="no worker has announced any", remedy=remedy)


def _loaded(target: "Cluster", names: list[str], found: "Heard") -> Iterator[Finding]:
    """Whether live workers have loaded what is announced, as far as all of them say what they have."""
    members = {member.instance_id for member in target.admin.group(target.settings.consumer_group).members}
    silent = sorted(members - {one.instance_id for one in found.workers})
    unloaded = [name for name in names if not found.loaders(name)]
    if unloaded and silent:
        fact = (
            f"no worker says that it has loaded {_listed(unloaded)}; {_listed(silent)} did not say lately what it has"
        )
        remedy = (
            "Ask again in some seconds; else upgrade these workers, and compare the clocks of Kafka and this machine"
        )
        yield Finding(mark=Mark.WARN, check="workflows", fact=fact, remedy=remedy)
    elif unloaded:
        fact = f"announced, and loaded by no live worker: {_listed(unloaded)}; their events sleep"
        remedy = "Start a worker that loads them, or give them up with `headgate workflows retire ID`"
        yield Finding(mark=Mark.WARN, check="workflows", fact=fact, remedy=remedy)


def _gateway(target: "Cluster") -> Iterator[Finding]:
    from app.cli.gatewayapi import Gateway, GatewayRefused, NoGateway

    gateway = Gateway(target.settings)
    try:
        checks = gateway.get("/readyz").get("checks", {})
        gateway.get("/api/v1/workflows")  # the readiness asks for no token, all else does
    except NoGateway as error:
        remedy = "Start one with `headgate gateway`, or say where it is with --url or HEADGATE_GATEWAY_URL"
        yield Finding(
            mark=Mark.WARN, check="gateway", fact=f"none answers at {error.url} ({error.reason})", remedy=remedy
        )
    except GatewayRefused as error:
        wrong_token = error.status == UNAUTHORIZED
        fact = f"{gateway.url} {'refuses the token of these settings' if wrong_token else 'is not ready'}"
        yield Finding(mark=Mark.FAIL, check="gateway", fact=fact, remedy=error.remedy if wrong_token else str(error))
    else:
        down = {name: one for name, one in checks.items() if not one["up"]}
        for name, one in down.items():
            fact = f"{gateway.url} answers, but not what needs {name}: {one.get('detail', 'it is down')}"
            yield Finding(mark=Mark.FAIL, check="gateway", fact=fact, remedy=one.get("remedy") or "See its log")
        if not down:
            yield Finding(mark=Mark.OK, check="gateway", fact=f"{gateway.url} is ready")


def _sources(target: "Cluster") -> Iterator[Finding]:
    """Whether what is set up is run, and goes well; nothing where there are none."""
    from app.kafka.records import TopicMissing
    from app.wiring import sourcelist

    try:
        found = sourcelist.listed(target.kafka, target.admin, group=target.settings.connectors_group)
    except TopicMissing:
        return  # said by the check of the topics
    unattended = [name for name, one in found.items() if one.unattended]
    failed = {name: one.problem for name, one in found.items() if one.failed}
    if unattended:
        fact = f"no process is in the group {target.settings.connectors_group}, so nothing reads {_listed(unattended)}"
        remedy = "Start one: `headgate connectors FILE`, or `headgate dev FILE` for everything on this machine"
        yield Finding(mark=Mark.WARN, check="sources", fact=fact, remedy=remedy)
    for name, problem in failed.items():
        remedy = "It is tried again from time to time, and at once when its entry changes"
        yield Finding(mark=Mark.WARN, check="sources", fact=f"{name} has failed: {problem}", remedy=remedy)
    if found and not unattended and not failed:
        fact = f"{len(found)} set up, none has failed: {_listed(sorted(found))}"
        yield Finding(mark=Mark.OK, check="sources", fact=fact)


CHECKS: Final = (_kafka, _topics, _answers, _transactions, _clock, _workers, _workflows, _sources, _gateway)


def _lag(target: "Cluster") -> dict[str, dict[int, int]]:
    """Records that workers have not finished yet, by topic and partition; what was never committed counts in full."""
    from topics import catalog

    names = [catalog.qualified(target.kafka.prefix, name) for name in ("events", "commands")]
    counts = {name: topic.partitions for name, topic in target.admin.topics(names).items()}
    committed = target.admin.group(target.settings.consumer_group).committed
    first = target.admin.first_offsets(counts)
    lag: dict[str, dict[int, int]] = {name: {} for name in counts}
    for (name, partition), end in sorted(target.admin.end_offsets(counts).items()):
        done = committed.get((name, partition), first[name, partition])
        lag[name][partition] = max(0, end - done)
    return lag


def _print(findings: list[Finding], lag: dict[str, dict[int, int]], *, json: bool) -> None:
    if json:
        record: dict[str, Any] = {"findings": [finding.record() for finding in findings], "lag": lag}
        output.echo_json(record)
        return
    for finding in findings:
        mark = click.style(finding.mark.value.ljust(4), fg=output.COLOURS[finding.mark.value], bold=True)
        click.echo(f"{mark}  {finding.check.ljust(9)}  {output.escaped(finding.fact)}")
        if finding.remedy:
            click.echo(f"{'':17}{click.style('→', dim=True)} {output.escaped(finding.remedy)}")
    rows = [(name, partition, behind) for name, of in lag.items() for partition, behind in of.items() if behind]
    if rows:
        click.echo()
        output.table(("not finished in", "partition", "records"), rows)


def _listed(items: Any) -> str:
    texts = list(map(str, items))
    return ", ".join(texts[:12]) + (f" and {len(texts) - 12} more" if len(texts) > 12 else "")

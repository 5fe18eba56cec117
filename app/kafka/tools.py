"""Kafka's own command line tools by their names: `headgate kafka console-producer …` runs kafka-console-producer.sh's
class from the jars of the embedded Kafka, with the cluster filled in.
"""

from __future__ import annotations

import difflib
import enum
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.kafka.embedded import Tuning, java_command, properties


class Bootstrap(enum.Enum):
    """Where a tool expects the cluster's address."""

    FIRST = "first"  # --bootstrap-server before everything else
    LAST = "last"  # after the subcommand
    NONE = "none"  # works on files


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One of Kafka's tools; `name` as in bin/kafka-<name>.sh."""

    name: str
    main_class: str
    about: str
    bootstrap: Bootstrap = Bootstrap.FIRST
    # Measuring tools run long enough for the optimizing compiler to pay.
    options: tuple[str, ...] = Tuning.QUICK_START.value


class UnknownToolError(LookupError):
    """No such tool; `nearest` is the likeliest meant, if any is."""

    exit_code: Final = 2  # of the command that it ends: wrong usage

    def __init__(self, name: str) -> None:
        near = difflib.get_close_matches(name, TOOLS, n=1, cutoff=0.4)
        self.name = name
        self.nearest = near[0] if near else None
        meant = f" Did you mean {self.nearest}?" if self.nearest else ""
        super().__init__(f"Kafka has no tool {name!r} here.{meant} `headgate kafka --list` shows all of them.")


def find(name: str) -> Tool:
    """The tool called `name`, also as kafka-<name> or kafka-<name>.sh. Raises UnknownToolError."""
    short = name.removesuffix(".sh").removesuffix(".bat").removeprefix("kafka-")
    try:
        return TOOLS[short]
    except KeyError:
        raise UnknownToolError(short) from None


def command(
    tool: Tool, arguments: Sequence[str], *, bootstrap: str, client_config: Mapping[str, str] | None = None
) -> list[str]:
    """The whole command that runs `tool`, ready for exec. Raises EmbeddedKafkaError if Java or jars are missing.

    `client_config` (security) reaches it through a pipe that it inherits, so that no secret is written to a disk or
    shown in a list of processes.
    """
    filled_in = with_bootstrap(tool, arguments, bootstrap=bootstrap)
    if client_config and filled_in != list(arguments):
        option = ["--command-config", _through_pipe(client_config)]
        filled_in = [*option, *filled_in] if tool.bootstrap is Bootstrap.FIRST else [*filled_in, *option]
    return [*java_command(options=tool.options), tool.main_class, *filled_in]


def _through_pipe(settings: Mapping[str, str]) -> str:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as file:  # far less than the 64 KB that a pipe takes without a reader
        file.write(properties.text(settings))
    os.set_inheritable(reader, True)  # noqa: FBT003 it takes nothing by name
    return f"/dev/fd/{reader}"


def with_bootstrap(tool: Tool, arguments: Sequence[str], *, bootstrap: str) -> list[str]:
    """`arguments` with the cluster filled in, unless they name one, or ask for help or the version only."""
    named = any(one.partition("=")[0] in _NAMES_A_CLUSTER for one in arguments)
    if tool.bootstrap is Bootstrap.NONE or named or {"--help", "-h", "--version"} & set(arguments):
        return list(arguments)
    filled_in = ["--bootstrap-server", bootstrap]
    return [*filled_in, *arguments] if tool.bootstrap is Bootstrap.FIRST else [*arguments, *filled_in]


_NAMES_A_CLUSTER: Final = {"--bootstrap-server", "--bootstrap-controller", "--broker-list", "-b"}
_LOAD: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
_CLASSES: Final = "org.apache.kafka.tools."

TOOLS: Final = {
    tool.name: tool
    for tool in (
        Tool(name="acls", main_class=f"{_CLASSES}AclCommand", about="access control lists"),
        Tool(
            name="broker-api-versions",
            main_class=f"{_CLASSES}BrokerApiVersionsCommand",
            about="protocol versions that the brokers speak",
        ),
        Tool(
            name="client-metrics", main_class=f"{_CLASSES}ClientMetricsCommand", about="subscriptions to client metrics"
        ),
        Tool(name="cluster", main_class=f"{_CLASSES}ClusterTool", about="cluster id", bootstrap=Bootstrap.LAST),
        Tool(name="configs", main_class="kafka.admin.ConfigCommand", about="settings of topics, brokers, clients"),
        Tool(
            name="console-consumer",
            main_class=f"{_CLASSES}consumer.ConsoleConsumer",
            about="print records; --topic T --from-beginning",
        ),
        Tool(
            name="console-producer",
            main_class=f"{_CLASSES}ConsoleProducer",
            about="lines of stdin as records; --topic T",
        ),
        Tool(
            name="console-share-consumer",
            main_class=f"{_CLASSES}consumer.ConsoleShareConsumer",
            about="print records through a share group",
        ),
        Tool(
            name="consumer-groups",
            main_class=f"{_CLASSES}consumer.group.ConsumerGroupCommand",
            about="groups, their members, lag and offsets",
        ),
        Tool(
            name="consumer-perf-test",
            main_class=f"{_CLASSES}ConsumerPerformance",
            about="how fast records can be read",
            options=_LOAD,
        ),
        Tool(name="delegation-tokens", main_class=f"{_CLASSES}DelegationTokenCommand", about="delegation tokens"),
        Tool(
            name="delete-records", main_class=f"{_CLASSES}DeleteRecordsCommand", about="delete records up to an offset"
        ),
        Tool(
            name="dump-log",
            main_class=f"{_CLASSES}DumpLogSegments",
            about="what the files of a log hold",
            bootstrap=Bootstrap.NONE,
        ),
        Tool(name="e2e-latency", main_class=f"{_CLASSES}EndToEndLatency", about="latency of a record", options=_LOAD),
        Tool(name="features", main_class=f"{_CLASSES}FeatureCommand", about="feature levels of the cluster"),
        Tool(name="get-offsets", main_class=f"{_CLASSES}GetOffsetShell", about="offsets of partitions"),
        Tool(name="groups", main_class=f"{_CLASSES}GroupsCommand", about="groups of all kinds"),
        Tool(
            name="leader-election", main_class=f"{_CLASSES}LeaderElectionCommand", about="elect leaders of partitions"
        ),
        Tool(name="log-dirs", main_class=f"{_CLASSES}LogDirsCommand", about="sizes of partitions on disk"),
        Tool(name="metadata-quorum", main_class=f"{_CLASSES}MetadataQuorumCommand", about="state of the KRaft quorum"),
        Tool(
            name="producer-perf-test",
            main_class=f"{_CLASSES}ProducerPerformance",
            about="how fast records can be written",
            options=_LOAD,
        ),
        Tool(
            name="reassign-partitions",
            main_class=f"{_CLASSES}reassign.ReassignPartitionsCommand",
            about="move partitions between brokers",
        ),
        Tool(name="share-groups", main_class=f"{_CLASSES}consumer.group.ShareGroupCommand", about="share groups"),
        Tool(
            name="storage",
            main_class="kafka.tools.StorageTool",
            about="format a broker's folders",
            bootstrap=Bootstrap.NONE,
        ),
        Tool(name="topics", main_class=f"{_CLASSES}TopicCommand", about="create, list, describe, alter, delete topics"),
        Tool(
            name="transactions",
            main_class=f"{_CLASSES}TransactionsCommand",
            about="transactions and producers; list, describe, abort, find-hanging",
        ),
        Tool(
            name="verifiable-consumer",
            main_class=f"{_CLASSES}VerifiableConsumer",
            about="a consumer that reports what it does as JSON",
        ),
        Tool(
            name="verifiable-producer",
            main_class=f"{_CLASSES}VerifiableProducer",
            about="a producer that reports what it does as JSON",
        ),
    )
}

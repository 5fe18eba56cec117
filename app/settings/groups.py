"""The settings, group by group: each field with its meaning, its unit and its default. Nothing else knows a default."""

import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from pydantic.fields import FieldInfo

PREFIX: Final = "HEADGATE_"
DEV_TOKEN: Final = "test-token"
_UNITS: Final = {"": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_KIB, _MIB = _UNITS["kib"], _UNITS["mib"]


def _size(value: object) -> object:
    """`"4 MiB"` as 4194304; anything that is no text is left to the type."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+)\s*([a-z]*)\s*", value.lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError("a size is a number of bytes, or a number with KiB, MiB or GiB")
    return int(found[1]) * _UNITS[found[2]]


def _several(value: object) -> object:
    """`"a, b"` as a list: variables and options have no other way to say it."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


Bytes = Annotated[int, BeforeValidator(_size), Field(ge=1)]
Several = Annotated[tuple[str, ...], BeforeValidator(_several)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


class Group(BaseModel):
    """What the groups share: frozen, and no name that is not declared."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class KafkaSettings(Group):
    """How Kafka is reached, and how Headgate's topics are created."""

    bootstrap: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$|^\[[0-9A-Fa-f:]+\]:\d+$",
        description="Brokers to ask first, as `HOST:PORT` or several of them with commas.",
    )
    prefix: str = Field(
        default="headgate.",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="What the names of all of Headgate's topics and transactional ids begin with.",
    )
    partitions: int = Field(
        default=32, ge=1, le=10_000, description="Partitions of each partitioned topic. Fixed once the topics exist."
    )
    replication_factor: int = Field(
        default=3, ge=1, le=100, description="Copies of each partition, on different brokers."
    )
    min_insync_replicas: int = Field(
        default=2, ge=1, le=100, description="Copies that must have a record before it counts as written."
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Encryption (SSL) and authentication (SASL) towards the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = Field(
        default=None, description="How user name and password are shown to the brokers; needed with SASL."
    )
    sasl_username: str | None = Field(default=None, description="User name for SASL.")
    sasl_password: SecretStr | None = Field(default=None, description="Password for SASL.")
    ssl_cafile: Path | None = Field(
        default=None, description="PEM file of the authorities that sign the brokers' certificates; none: the system's."
    )
    ssl_certfile: Path | None = Field(
        default=None, description="PEM file of this client's certificate, for mutual TLS."
    )
    ssl_keyfile: Path | None = Field(default=None, description="PEM file of this client's key, for mutual TLS.")
    request_timeout_seconds: Seconds = Field(
        default=30, description="Seconds until a request that no broker answers is an error."
    )


class WorkerSettings(Group):
    """One worker process: its name in the group, its deadlines, its threads."""

    instance_id: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Name of this worker. It must be its own in the group and stay the same over restarts.",
        json_schema_extra={"shown_default": "the host name"},
    )
    group: str = Field(
        default="worker",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Consumer group that all workers share; its name in Kafka begins with kafka.prefix.",
    )
    session_timeout_seconds: float = Field(
        default=6, ge=6, le=1800, description="Seconds of silence until a worker's partitions go to the others."
    )
    drain_timeout_seconds: float = Field(
        default=20, ge=0, description="Seconds that running workflows get to end when the worker stops."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address on which metrics and health are served.")
    metrics_port: Port | None = Field(
        default=9100, description="Port of metrics and health; `none`: not served, 0: any free one."
    )
    threads: int = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Threads for workflows that are plain functions, and as many for steps that are.",
    )
    suspended: int = Field(
        default=10_000,
        ge=1,
        description="Waiting runs whose functions stay in memory; those above are called again when they go on. A "
        "fifth of them, or 2,000, may wait for longer than a minute, or nobody knows how long. Fewer, but not "
        "below 2,000, while more than 184 MB of other runs and waits rest in memory.",
    )
    blocked_seconds: Seconds = Field(
        default=1, description="Seconds that a coroutine may block the worker before the log names it and its line."
    )
    start_from: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where a new installation begins to read the events topic."
    )
    data: Path | None = Field(
        default=None, description="Folder for snapshots that shorten a restart; none: no snapshots."
    )
    standby_bytes: Bytes | None = Field(
        default=96 * _MIB,
        description="Most memory, by estimate, for reading ahead in journals of partitions that other workers own, so "
        "that taking them over is quick; none: nothing is read ahead.",
    )
    clock_warn_seconds: Seconds = Field(
        default=1, description="Seconds that this clock may differ from the broker's before a warning."
    )
    clock_stop_seconds: Seconds = Field(
        default=60, description="Seconds that this clock may differ from the broker's before the worker stops."
    )
    refence_hours: float = Field(
        default=6, gt=0, le=24, description="Hours after which a worker renews its claim on a partition."
    )
    presence_seconds: float = Field(
        default=10,
        ge=1,
        le=3600,
        description="Seconds after which a worker says again what it has loaded; silent for three times as long, it "
        "counts as gone.",
    )


class ConnectorSettings(Group):
    """One process of connectors: its name, what its sources may reach, how quickly they move to another."""

    instance_id: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Name of this process, shown as the owner of the sources that it runs.",
        json_schema_extra={"shown_default": "the host name"},
    )
    group: str = Field(
        default="connectors",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Consumer group that all processes of connectors share; its name begins with kafka.prefix.",
    )
    allow: Several = Field(
        default=(),
        description="What sources may reach beside public addresses: networks (`10.1.0.0/16`), hosts, `host:port`, or "
        "`*` for everything.",
    )
    folders: Several = Field(
        default=(), description="Folders whose files sources may read (kinds `file`, `poll` of SQLite); `/`: all."
    )
    secrets: Path | None = Field(
        default=None, description="Folder of files that options name as `{{ file.NAME }}`; none: there are none."
    )
    declared_by: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._/-]{1,200}$",
        description="Name of the deployment whose files declare sources, where others have files of the same names; "
        "none: the names of files tell them apart.",
    )
    secret_names: Several = Field(
        default=("*",),
        description="Environment variables that options may name as `{{ env.NAME }}`: patterns such as `SHOP_*`. Those "
        "that begin with `HEADGATE_` never.",
    )
    session_timeout_seconds: float = Field(
        default=6,
        ge=6,
        le=1800,
        description="Seconds of silence until the sources of a process go to the others; half of it while another "
        "process joins or leaves.",
    )
    dwell_seconds: float = Field(
        default=300,
        ge=0,
        description="Seconds that a source stays where it is before it moves only so that all have equal shares.",
    )
    drain_timeout_seconds: float = Field(
        default=10, ge=0, description="Seconds that sources get to publish what they have read when the process stops."
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address on which metrics and health are served.")
    metrics_port: Port | None = Field(
        default=9101, description="Port of metrics and health; `none`: not served, 0: any free one."
    )

    @field_validator("allow")
    @classmethod
    def _can_be_followed(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        if allow:
            from connectors.base.reach.egress import Policy

            Policy(allowed=allow)
        return allow

    @field_validator("secret_names")
    @classmethod
    def _are_patterns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        from connectors.base.texts import secrets

        secrets.check_patterns(names)
        return names


class GatewaySettings(Group):
    """The HTTP interface, and how the command line reaches it."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address on which the gateway listens.")
    port: Port = Field(default=8080, description="Port on which the gateway listens; 0: any free one.")
    url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="Where the command line finds the gateway; none: `http://<host>:<port>`.",
    )
    token: SecretStr | None = Field(
        default=None,
        min_length=8,
        description="Bearer token that requests must show. Without it the gateway does not start.",
    )
    max_body_bytes: Bytes = Field(default=8 * _MIB, description="Largest request body in bytes.")
    max_events: Count = Field(default=10_000, description="Most events in one request.")
    rate_limit_per_second: Seconds | None = Field(
        default=None, description="Events that the gateway takes per second; none: no limit."
    )
    connections_per_address: Count | None = Field(
        default=None,
        description="Most open connections of one remote address, this machine's own not counted; none: a quarter of "
        "all that may be open. Behind a proxy all clients have its address.",
    )
    read_model: Path | None = Field(
        default=None, description="File of the read model, which is rebuilt from Kafka; none: a temporary one."
    )
    produce_timeout_seconds: Seconds = Field(
        default=10, description="Seconds that Kafka gets to acknowledge an event before the answer is 503."
    )

    @field_validator("token")
    @classmethod
    def _fits_a_header(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and re.fullmatch("[!-~]*", token.get_secret_value()) is None:
            raise ValueError(
                "a token has printable ASCII characters alone and no blank or line break; a Secret made with `echo` "
                "ends with a line break, make it with `printf %s`"
            )
        return token


class LimitSettings(Group):
    """Bounds of one event, one run and one partition; what exceeds them is refused with a reason."""

    event_bytes: Bytes = Field(default=_MIB, description="Largest event in bytes; at most 2 MiB.")
    batch_bytes: Bytes = Field(default=4 * _MIB, description="Largest batch in bytes.")
    workflows_per_event: Count = Field(default=100, description="Most workflows that one event starts.")
    waits: Count = Field(
        default=2_000_000,
        description="Most events, times, decisions and children that runs wait for at once, over all partitions; each "
        "has its share. One takes 75 to 270 bytes of a worker's memory, 1.4 KB in forms that are not packed.",
    )
    waits_per_run: Count = Field(default=1_000, description="Most of these that one run waits for.")
    steps_per_run: Count = Field(default=1_000, description="Most steps of one run.")
    result_bytes: Bytes = Field(default=_MIB, description="Largest result of a run in bytes.")
    run_bytes: Bytes = Field(
        default=32 * _MIB, description="Most bytes that all steps of one run come to, and that its children get."
    )
    round_events: Count = Field(default=2_000, description="Most events that a partition takes in one round.")
    round_bytes: Bytes = Field(
        default=8 * _MIB, description="Most memory that the events of one round may take, by estimate."
    )
    running: Count = Field(default=1_000, description="Most runs in flight per partition.")
    queued_bytes: Bytes = Field(
        default=64 * _MIB,
        description="Most memory, by estimate, of events that wait or are handled; each partition has its share.",
    )
    asleep_events: Count = Field(
        default=4_000_000,
        description="Most events that wait for workflows that no worker loads: one more is a dead letter. Or in strict "
        "order behind a run that waits: then no more are read. Each partition has its share.",
    )


class DedupSettings(Group):
    """How long, and how many, ids of events are remembered."""

    window_hours: float = Field(default=96, gt=0, description="Hours for which an event's id is remembered.")
    max_ids: Count = Field(
        default=8_000_000, description="Most ids remembered over all partitions; each partition gets its share."
    )


class ReplySettings(Group):
    """Where results of runs may go beside Headgate's own topics."""

    allowed_topics: Several = Field(
        default=(), description="Patterns of the Kafka topics that the header `reply_topic` of an event may name."
    )


class LogSettings(Group):
    """What is logged, and how it looks."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least important level shown."
    )
    format: Literal["auto", "text", "json"] = Field(
        default="auto", description="`auto` is text on terminals, JSON elsewhere."
    )


GROUPS: Final[Mapping[str, type[Group]]] = {
    "kafka": KafkaSettings,
    "worker": WorkerSettings,
    "connectors": ConnectorSettings,
    "gateway": GatewaySettings,
    "limits": LimitSettings,
    "dedup": DedupSettings,
    "replies": ReplySettings,
    "log": LogSettings,
}
FIELDS: Final[Mapping[str, FieldInfo]] = {
    f"{group}.{field}": info for group, model in GROUPS.items() for field, info in model.model_fields.items()
}
# What `headgate dev` starts from instead: one broker and one machine, which nobody else reaches.
DEV_DEFAULTS: Final[Mapping[str, object]] = {
    "kafka.partitions": 8,
    "kafka.replication_factor": 1,
    "kafka.min_insync_replicas": 1,
    "gateway.token": DEV_TOKEN,
    "connectors.allow": ("127.0.0.0/8", "::1/128"),
    "connectors.folders": ("/",),
    "connectors.dwell_seconds": 0,
}


def variable(name: str) -> str:
    """The environment variable of `group.field`."""
    return PREFIX + name.replace(".", "_").upper()


def shown_default(name: str) -> str:
    """The default of `group.field` as documentation and error messages print it."""
    info = FIELDS[name]
    if isinstance(info.json_schema_extra, dict):
        return str(info.json_schema_extra["shown_default"])
    value = info.get_default()
    if isinstance(value, int) and value >= _KIB and name.endswith("_bytes"):
        return f"{value // _MIB} MiB" if value % _MIB == 0 else f"{value // _KIB} KiB"
    if value is None or value == ():
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def is_optional(name: str) -> bool:
    """Whether `group.field` may be none."""
    return type(None) in get_args(FIELDS[name].annotation)


def is_secret(name: str) -> bool:
    """Whether the value of `group.field` must never be shown."""
    annotation = FIELDS[name].annotation
    return annotation is SecretStr or SecretStr in get_args(annotation)

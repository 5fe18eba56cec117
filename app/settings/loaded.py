"""All settings together: put together from their sources, checked against each other, frozen."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, PrivateAttr, ValidationError

from app.settings import groups, sources
from app.settings.problems import Given, Problem, SettingsError, wrong_values
from topics.envelope import MOST_BYTES


class Settings(groups.Group):
    """All settings, one group per part."""

    kafka: groups.KafkaSettings = Field(default_factory=groups.KafkaSettings)
    worker: groups.WorkerSettings = Field(default_factory=groups.WorkerSettings)
    connectors: groups.ConnectorSettings = Field(default_factory=groups.ConnectorSettings)
    gateway: groups.GatewaySettings = Field(default_factory=groups.GatewaySettings)
    limits: groups.LimitSettings = Field(default_factory=groups.LimitSettings)
    dedup: groups.DedupSettings = Field(default_factory=groups.DedupSettings)
    replies: groups.ReplySettings = Field(default_factory=groups.ReplySettings)
    log: groups.LogSettings = Field(default_factory=groups.LogSettings)

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def consumer_group(self) -> str:
        """The workers' consumer group as Kafka knows it: two installations on one cluster never share one."""
        return self.kafka.prefix + self.worker.group

    @property
    def connectors_group(self) -> str:
        """The consumer group of the processes that run sources, as Kafka knows it."""
        return self.kafka.prefix + self.connectors.group

    @classmethod
    def load(
        cls,
        overrides: Mapping[str, object] | None = None,
        *,
        dev: bool = False,
        config: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Read every source; `overrides` maps `group.field` to a value of the command line, None meaning not given.

        Raises SettingsError with everything that is wrong, not only the first.
        """
        environ = os.environ if environ is None else environ
        path = config or (Path(environ["HEADGATE_CONFIG"]) if environ.get("HEADGATE_CONFIG") else None)
        last, problems = _read(overrides or {}, dev=dev, path=path, environ=environ)
        tables: dict[str, dict[str, object]] = {group: {} for group in groups.GROUPS}
        for given in last.values():
            group, _, field = given.name.partition(".")
            tables[group][field] = _none_or_value(given)
        try:
            loaded = cls.model_validate(tables)
        except ValidationError as error:
            raise SettingsError(*problems, *wrong_values(error, last)) from None
        loaded._sources.update({name: given.source for name, given in last.items()})
        problems += _contradictions(loaded)
        if problems:
            raise SettingsError(*problems)
        return loaded

    def source(self, name: str) -> str:
        """Where `group.field` came from: `default`, `development default`, `file:line`, a variable, `command line`."""
        return self._sources.get(name, "default")

    def value(self, name: str) -> object:
        """The value of `group.field`."""
        group, _, field = name.partition(".")
        return getattr(getattr(self, group), field)

    def secrets(self) -> tuple[str, ...]:
        """The secret values themselves, for the log to strike out wherever one turns up."""
        held = (self.gateway.token, self.kafka.sasl_password)
        return tuple(secret.get_secret_value() for secret in held if secret is not None)

    def gateway_url(self) -> str:
        """Where the command line finds the gateway."""
        if self.gateway.url is not None:
            return self.gateway.url.rstrip("/")
        host = "127.0.0.1" if self.gateway.host in {"0.0.0.0", "::"} else self.gateway.host
        return http_url(host, self.gateway.port)


def require_gateway_token(settings: Settings) -> str:
    """Return the token that requests must show. Raises SettingsError where none is configured."""
    if settings.gateway.token is None:
        raise SettingsError(
            Problem(
                source="gateway.token",
                fact="no token is set, and a gateway without one would let everybody in",
                remedy="Set HEADGATE_GATEWAY_TOKEN to 8 characters or more, such as what `openssl rand -hex 32` prints",
            )
        )
    return settings.gateway.token.get_secret_value()


def require_loopback(settings: Settings) -> None:
    """Keep `headgate dev` on this machine: everybody knows its token. Raises SettingsError."""
    for name in ("gateway.host", "worker.metrics_host", "connectors.metrics_host"):
        host = str(settings.value(name))
        if not is_loopback(host):
            raise SettingsError(
                Problem(
                    source=settings.source(name),
                    fact=f"{name} is {host!r}, and development listens on this machine only",
                    remedy=f"Leave {name} at 127.0.0.1, or run `headgate gateway` and the other roles with a token",
                )
            )


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def http_url(host: str, port: int) -> str:
    """Where a server on `host` is found: an IPv6 address has brackets in a URL, which settings may have or not."""
    bare = host.strip("[]")
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def _read(
    overrides: Mapping[str, object], *, dev: bool, path: Path | None, environ: Mapping[str, str]
) -> tuple[dict[str, Given], list[Problem]]:
    last, problems = dict[str, Given](), list[Problem]()
    if dev:
        last = {name: Given(name, value, "development default") for name, value in groups.DEV_DEFAULTS.items()}
    for source in (sources.from_file(path), sources.from_environ(environ), sources.from_overrides(overrides)):
        for item in source:
            if isinstance(item, Problem):
                problems.append(item)
            else:
                last[item.name] = item
    return last, problems


def _none_or_value(given: Given) -> object:
    """TOML and variables know no null: an empty text or `none` says it, where the field may be none."""
    says_none = isinstance(given.value, str) and given.value.strip().lower() in {"", "none"}
    return None if says_none and groups.is_optional(given.name) else given.value


def _contradictions(loaded: Settings) -> Iterator[Problem]:
    """Values that are right one by one and wrong together."""
    for name, other in (
        ("kafka.min_insync_replicas", "kafka.replication_factor"),
        ("worker.clock_warn_seconds", "worker.clock_stop_seconds"),
        ("limits.event_bytes", "limits.batch_bytes"),
    ):
        if loaded.value(name) > loaded.value(other):  # type: ignore[operator]
            fact = f"{name} is {loaded.value(name)}, above {other}, which is {loaded.value(other)}"
            fact += f" ({loaded.source(other)})"
            yield Problem(source=loaded.source(name), fact=fact, remedy=f"Lower {name} or raise {other}")
    if loaded.limits.event_bytes > MOST_BYTES:
        fact = f"limits.event_bytes is {loaded.limits.event_bytes}, above {MOST_BYTES} ({MOST_BYTES // 1024**2} MiB): "
        fact += "that is the most that the topic events takes, and for which the journal and dead letters have room"
        remedy = "Lower it; keep larger data elsewhere, and its address in the event"
        yield Problem(source=loaded.source("limits.event_bytes"), fact=fact, remedy=remedy)
    if loaded.kafka.security_protocol.startswith("SASL"):
        yield from _missing(loaded, "kafka.security_protocol", "sasl_mechanism", "sasl_username", "sasl_password")
    if loaded.kafka.ssl_certfile is not None:
        yield from _missing(loaded, "kafka.ssl_certfile", "ssl_keyfile")
    if loaded.kafka.ssl_keyfile is not None:
        yield from _missing(loaded, "kafka.ssl_keyfile", "ssl_certfile")


def _missing(loaded: Settings, because: str, *fields: str) -> Iterator[Problem]:
    for name in (f"kafka.{field}" for field in fields):
        if loaded.value(name) is None:
            fact = f"{because} is {str(loaded.value(because))!r}, which needs {name}"
            yield Problem(source=loaded.source(because), fact=fact, remedy=f"Set {groups.variable(name)}")

"""Every promised default is written here a second time, so that none changes by accident."""

import socket

import pytest
from pydantic import ValidationError

from app.settings import (
    DEV_DEFAULTS,
    FIELDS,
    GROUPS,
    KafkaSettings,
    LimitSettings,
    Settings,
    groups,
    shown_default,
    variable,
)

MIB = 1024 * 1024
PROMISED = {
    "kafka.bootstrap": "127.0.0.1:9092",
    "kafka.prefix": "headgate.",
    "kafka.partitions": 32,
    "kafka.replication_factor": 3,
    "kafka.min_insync_replicas": 2,
    "kafka.security_protocol": "PLAINTEXT",
    "kafka.sasl_mechanism": None,
    "kafka.sasl_username": None,
    "kafka.sasl_password": None,
    "kafka.ssl_cafile": None,
    "kafka.ssl_certfile": None,
    "kafka.ssl_keyfile": None,
    "kafka.request_timeout_seconds": 30,
    "worker.instance_id": socket.gethostname(),
    "worker.group": "worker",
    "worker.session_timeout_seconds": 6,
    "worker.drain_timeout_seconds": 20,
    "worker.metrics_host": "127.0.0.1",
    "worker.metrics_port": 9100,
    "worker.threads": 32,
    "worker.suspended": 10_000,
    "worker.blocked_seconds": 1,
    "worker.start_from": "earliest",
    "worker.data": None,
    "worker.standby_bytes": 96 * MIB,
    "worker.clock_warn_seconds": 1,
    "worker.clock_stop_seconds": 60,
    "worker.refence_hours": 6,
    "worker.presence_seconds": 10,
    "connectors.instance_id": socket.gethostname(),
    "connectors.group": "connectors",
    "connectors.allow": (),
    "connectors.folders": (),
    "connectors.secrets": None,
    "connectors.declared_by": None,
    "connectors.secret_names": ("*",),
    "connectors.session_timeout_seconds": 6,
    "connectors.dwell_seconds": 300,
    "connectors.drain_timeout_seconds": 10,
    "connectors.metrics_host": "127.0.0.1",
    "connectors.metrics_port": 9101,
    "gateway.host": "127.0.0.1",
    "gateway.port": 8080,
    "gateway.url": None,
    "gateway.token": None,
    "gateway.max_body_bytes": 8 * MIB,
    "gateway.max_events": 10_000,
    "gateway.rate_limit_per_second": None,
    "gateway.connections_per_address": None,
    "gateway.read_model": None,
    "gateway.produce_timeout_seconds": 10,
    "limits.event_bytes": MIB,
    "limits.batch_bytes": 4 * MIB,
    "limits.workflows_per_event": 100,
    "limits.steps_per_run": 1_000,
    "limits.result_bytes": MIB,
    "limits.run_bytes": 32 * MIB,
    "limits.round_events": 2_000,
    "limits.round_bytes": 8 * MIB,
    "limits.running": 1_000,
    "limits.queued_bytes": 64 * MIB,
    "limits.asleep_events": 4_000_000,
    "limits.waits": 2_000_000,
    "limits.waits_per_run": 1_000,
    "dedup.window_hours": 96,
    "dedup.max_ids": 8_000_000,
    "replies.allowed_topics": (),
    "log.level": "info",
    "log.format": "auto",
}


def test_every_default_is_the_promised_one() -> None:
    loaded = Settings.load(environ={})
    assert {name: loaded.value(name) for name in FIELDS} == PROMISED


def test_development_differs_from_it_in_shape_token_and_what_sources_of_one_machine_need() -> None:
    assert DEV_DEFAULTS == {
        "kafka.partitions": 8,
        "kafka.replication_factor": 1,
        "kafka.min_insync_replicas": 1,
        "gateway.token": "test-token",
        "connectors.allow": ("127.0.0.0/8", "::1/128"),
        "connectors.folders": ("/",),
        "connectors.dwell_seconds": 0,
    }


def test_every_group_and_field_says_what_it_means() -> None:
    assert [name for name, info in FIELDS.items() if not (info.description or "").endswith(".")] == []
    assert [group for group, model in GROUPS.items() if not model.__doc__] == []


def test_every_number_has_its_unit_in_name_or_description() -> None:
    units = ("_seconds", "_hours", "_bytes", "_per_second")
    numbers = [name for name, info in FIELDS.items() if info.annotation is float]
    assert [name for name in numbers if not name.endswith(units)] == []


def test_a_group_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        KafkaSettings().partitions = 1


@pytest.mark.parametrize(
    ("text", "size"), [("1048576", 1_048_576), ("4 MiB", 4 * MIB), ("1gib", 1024 * MIB), (" 2 KiB ", 2048), ("7 b", 7)]
)
def test_a_size_may_be_written_with_its_unit(text: str, size: int) -> None:
    assert LimitSettings(event_bytes=text).event_bytes == size  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["4 MB", "1.5 MiB", "-1", "MiB", "", "0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        LimitSettings(event_bytes=text)  # type: ignore[arg-type]


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:9092", "a:1,b:2", "kafka-0.kafka:9092", "[::1]:9092"])
def test_bootstrap_takes_addresses_with_ports(bootstrap: str) -> None:
    assert KafkaSettings(bootstrap=bootstrap).bootstrap == bootstrap


@pytest.mark.parametrize("bootstrap", ["", "localhost", "a:1, b:2", "kafka:", "http://kafka:9092", "a:1,"])
def test_bootstrap_without_a_port_is_refused(bootstrap: str) -> None:
    with pytest.raises(ValidationError):
        KafkaSettings(bootstrap=bootstrap)


@pytest.mark.parametrize("allow", ["10.0.0.0/8", "broker.internal:6379,[::1]:80", "*", ""])
def test_what_sources_may_reach_is_networks_and_hosts(allow: str) -> None:
    assert groups.ConnectorSettings(allow=allow).allow == tuple(one for one in allow.split(",") if one)  # type: ignore[arg-type]


@pytest.mark.parametrize("allow", ["10.0.0.0/33", "a b", "broker:port"])
def test_what_sources_could_never_reach_is_refused(allow: str) -> None:
    with pytest.raises(ValidationError, match="none of networks"):
        groups.ConnectorSettings(allow=allow)  # type: ignore[arg-type]


def test_a_default_is_shown_as_a_person_would_write_it() -> None:
    names = ("limits.event_bytes", "worker.instance_id", "replies.allowed_topics", "worker.data", "dedup.max_ids")
    assert [shown_default(name) for name in names] == ["1 MiB", "the host name", "none", "none", "8000000"]
    assert shown_default("connectors.secret_names") == "*"


def test_a_variable_is_prefix_group_and_field() -> None:
    assert variable("kafka.sasl_password") == "HEADGATE_KAFKA_SASL_PASSWORD"


def test_secrets_are_the_two_that_are_secret() -> None:
    assert [name for name in FIELDS if groups.is_secret(name)] == ["kafka.sasl_password", "gateway.token"]

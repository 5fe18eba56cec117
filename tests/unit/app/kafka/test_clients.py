import ssl
from pathlib import Path

import pytest

from app.kafka import clients
from app.settings import KafkaSettings

PLAIN = KafkaSettings(bootstrap="kafka-0:9092", request_timeout_seconds=1.5)
SASL = KafkaSettings(
    bootstrap="kafka-0:9092",
    security_protocol="SASL_PLAINTEXT",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="me",
    sasl_password="hunter2hunter2",  # type: ignore[arg-type]
)


def without_logger(config: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in config.items() if name != "logger"}


def test_confluent_gets_the_settings_in_its_words() -> None:
    assert without_logger(clients.confluent_config(PLAIN)) == {
        "bootstrap.servers": "kafka-0:9092",
        "client.id": "headgate",
        "security.protocol": "PLAINTEXT",
        "socket.timeout.ms": 1500,
    }


def test_aiokafka_gets_them_in_its_own() -> None:
    assert clients.aiokafka_config(PLAIN) == {
        "bootstrap_servers": "kafka-0:9092",
        "client_id": "headgate",
        "security_protocol": "PLAINTEXT",
        "request_timeout_ms": 1500,
    }


def test_a_password_reaches_both_clients() -> None:
    confluent, aiokafka = clients.confluent_config(SASL), clients.aiokafka_config(SASL)
    assert {name: value for name, value in confluent.items() if name.startswith("sasl")} == {
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "hunter2hunter2",
    }
    assert {name: value for name, value in aiokafka.items() if name.startswith("sasl")} == {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hunter2hunter2",
    }


def test_tls_files_reach_confluent_by_path(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.pem" for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")}
    for file in files.values():
        file.write_text("")
    config = clients.confluent_config(KafkaSettings(security_protocol="SSL", **files))  # type: ignore[arg-type]
    assert {name: value for name, value in config.items() if name.startswith("ssl")} == {
        "ssl.ca.location": str(files["ssl_cafile"]),
        "ssl.certificate.location": str(files["ssl_certfile"]),
        "ssl.key.location": str(files["ssl_keyfile"]),
    }


def test_tls_without_files_trusts_the_system_and_checks_the_name() -> None:
    context = clients.aiokafka_config(KafkaSettings(security_protocol="SSL"))["ssl_context"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("make", [clients.confluent_config, clients.aiokafka_config])
def test_a_missing_certificate_is_named(make: object, tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    with pytest.raises(clients.KafkaUnreachable, match=r"ca\.pem: there is no such file\. Mend kafka\.ssl_cafile"):
        make(KafkaSettings(security_protocol="SSL", ssl_cafile=missing))  # type: ignore[operator]


def test_a_certificate_that_is_none_is_told(tmp_path: Path) -> None:
    files = {"ssl_certfile": tmp_path / "a.pem", "ssl_keyfile": tmp_path / "b.pem"}
    for file in files.values():
        file.write_text("not PEM")
    with pytest.raises(clients.KafkaUnreachable, match="a certificate or key cannot be used"):
        clients.aiokafka_config(KafkaSettings(security_protocol="SSL", **files))  # type: ignore[arg-type]


def test_a_producer_is_durable_and_chooses_partitions_as_java_does() -> None:
    config = clients.producer_config(PLAIN)
    names = ("acks", "enable.idempotence", "partitioner")
    assert [config[name] for name in names] == ["all", True, "murmur2_random"]


def test_kafka_out_of_reach_has_its_own_exit_code_and_remedy() -> None:
    error = clients.KafkaUnreachable("a:1", "Connection refused")
    assert error.exit_code == 3
    assert str(error) == (
        "Kafka is not reachable at a:1: Connection refused. "
        "Start one with `headgate dev`, or name yours with --kafka HOST:PORT"
    )


def test_kafkas_own_tools_need_nothing_for_a_cluster_without_security() -> None:
    assert clients.java_config(KafkaSettings()) == {}


@pytest.mark.parametrize(
    ("mechanism", "module"),
    [("PLAIN", "plain.PlainLoginModule"), ("SCRAM-SHA-512", "scram.ScramLoginModule")],
)
def test_kafkas_own_tools_log_in_with_a_quoted_password(mechanism: str, module: str) -> None:
    kafka = KafkaSettings.model_validate(
        {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": mechanism,
            "sasl_username": "ann",
            "sasl_password": 'a"b\\c',
        }
    )

    assert clients.java_config(kafka) == {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": (
            f'org.apache.kafka.common.security.{module} required username="ann" password="a\\"b\\\\c";'
        ),
    }


def test_kafkas_own_tools_get_certificates_as_text(tmp_path: Path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(f"pem of {name}\n")
    kafka = KafkaSettings(
        security_protocol="SSL",
        ssl_cafile=tmp_path / "ca",
        ssl_certfile=tmp_path / "cert",
        ssl_keyfile=tmp_path / "key",
    )

    assert clients.java_config(kafka) == {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "pem of ca\n",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.certificate.chain": "pem of cert\n",
        "ssl.keystore.key": "pem of key\n",
    }

"""The settings of Kafka in the words of each client library; the only place that knows how security is spelt.

Called by everything in `app.kafka` that opens a client, and by the commands through `app.kafka.admin`.
"""

import logging
import ssl
from pathlib import Path
from typing import Any, Final

from app.settings import KafkaSettings

CLIENT_ID: Final = "headgate"
LIBRDKAFKA: Final = logging.getLogger("librdkafka")
LIBRDKAFKA.addHandler(
    logging.NullHandler()
)  # or `logging` writes warnings to standard error where nobody configured it


class KafkaUnreachable(Exception):
    """No broker could be talked to: none there, or it refuses us."""

    exit_code: Final = 3

    def __init__(self, bootstrap: str, reason: str, remedy: str | None = None) -> None:
        remedy = remedy or "Start one with `headgate dev`, or name yours with --kafka HOST:PORT"
        super().__init__(f"Kafka is not reachable at {bootstrap}: {reason}. {remedy}")
        self.bootstrap, self.reason, self.remedy = bootstrap, reason, remedy


def confluent_config(kafka: KafkaSettings) -> dict[str, Any]:
    """What every confluent-kafka client needs; a producer takes `producer_config` instead.

    Its own messages go to the logger `librdkafka`: on standard error they would repeat in code what we say in words.
    """
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "client.id": CLIENT_ID,
        "security.protocol": kafka.security_protocol,
        "socket.timeout.ms": _milliseconds(kafka.request_timeout_seconds),
        "logger": LIBRDKAFKA,
    }
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_password is not None:
        config |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.sasl_username,
            "sasl.password": kafka.sasl_password.get_secret_value(),
        }
    if kafka.security_protocol.endswith("SSL"):
        files = {
            "ssl.ca.location": kafka.ssl_cafile,
            "ssl.certificate.location": kafka.ssl_certfile,
            "ssl.key.location": kafka.ssl_keyfile,
        }
        config |= {name: str(_existing(file)) for name, file in files.items() if file is not None}
    return config


def producer_config(kafka: KafkaSettings) -> dict[str, Any]:
    """A durable confluent-kafka producer. Its own partitioner would disagree with Java's on a quarter of the keys."""
    return confluent_config(kafka) | {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "message.max.bytes": 8 * 1024 * 1024,  # what our topics take at most; the library's own bound is 1 MB
    }


def aiokafka_config(kafka: KafkaSettings) -> dict[str, Any]:
    """What every aiokafka client takes as keyword arguments."""
    config: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap,
        "client_id": CLIENT_ID,
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": _milliseconds(kafka.request_timeout_seconds),
    }
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_password is not None:
        config |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value(),
        }
    if kafka.security_protocol.endswith("SSL"):
        config["ssl_context"] = ssl_context(kafka)
    return config


def java_config(kafka: KafkaSettings) -> dict[str, str]:
    """What Kafka's own tools need in the file of --command-config; empty for a cluster without security."""
    config: dict[str, str] = {}
    if kafka.security_protocol != "PLAINTEXT":
        config["security.protocol"] = kafka.security_protocol
    if kafka.security_protocol.startswith("SASL") and kafka.sasl_password is not None:
        module = "plain.PlainLoginModule" if kafka.sasl_mechanism == "PLAIN" else "scram.ScramLoginModule"
        user, password = (
            value.replace("\\", "\\\\").replace('"', '\\"')
            for value in (kafka.sasl_username or "", kafka.sasl_password.get_secret_value())
        )
        config |= {
            "sasl.mechanism": str(kafka.sasl_mechanism),
            "sasl.jaas.config": (
                f'org.apache.kafka.common.security.{module} required username="{user}" password="{password}";'
            ),
        }
    if kafka.security_protocol.endswith("SSL"):
        # The contents rather than the paths: Java wants certificate and key in one file, the others in two.
        files = {
            "ssl.truststore.certificates": kafka.ssl_cafile,
            "ssl.keystore.certificate.chain": kafka.ssl_certfile,
            "ssl.keystore.key": kafka.ssl_keyfile,
        }
        config |= {name: _existing(file).read_text() for name, file in files.items() if file is not None}
        config |= {f"{store}.type": "PEM" for store in ("ssl.truststore", "ssl.keystore") if _holds(config, store)}
    return config


def _holds(config: dict[str, str], store: str) -> bool:
    return any(name.startswith(f"{store}.") for name in config)


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """TLS as the settings say. Raises KafkaUnreachable where a file is missing or is no PEM."""
    cafile = None if kafka.ssl_cafile is None else _existing(kafka.ssl_cafile)
    try:
        context = ssl.create_default_context(cafile=cafile)
        if kafka.ssl_certfile is not None and kafka.ssl_keyfile is not None:
            context.load_cert_chain(_existing(kafka.ssl_certfile), _existing(kafka.ssl_keyfile))
    except ssl.SSLError as error:
        reason = f"a certificate or key cannot be used ({error.reason or error})"
        raise KafkaUnreachable(kafka.bootstrap, reason, "Mend kafka.ssl_cafile, ssl_certfile, ssl_keyfile") from error
    return context


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise KafkaUnreachable(str(file), "there is no such file", "Mend kafka.ssl_cafile, ssl_certfile, ssl_keyfile")
    return file


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))

"""Both client libraries reach, with the settings alone, a broker that asks for TLS and a password."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, errors
from pydantic import SecretStr

from app.kafka import clients
from app.kafka.admin import Admin, WantedTopic
from app.kafka.embedded import EmbeddedKafka
from app.kafka.embedded.java import find_java
from app.kafka.embedded.ports import free_port
from app.kafka.records import Reader, Writer
from app.settings import KafkaSettings

PASSWORD = 'quote " and \\ backslash'
LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_me="quote \\" and \\\\ backslash";'


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key of 127.0.0.1 with a certificate of its own, as Java's key store; and the certificate as PEM."""
    store, pem = folder / "broker.p12", folder / "ca.pem"
    keytool = find_java().command.resolve().with_name("keytool")
    shared = ["-keystore", str(store), "-storepass", "changeit", "-alias", "broker"]
    made = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-validity", "2"]
    subprocess.run([keytool, *made, *shared], check=True, capture_output=True)
    subprocess.run([keytool, "-exportcert", "-rfc", "-file", str(pem), *shared], check=True, capture_output=True)
    return store, pem


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaSettings]:
    """Settings for a second listener of a broker of this module, with TLS and passwords."""
    folder = tmp_path_factory.mktemp("security")
    store, pem = certificate(folder)
    port = free_port()
    plain, controller, safe = (
        "PLAINTEXT://127.0.0.1:{port}",
        "CONTROLLER://127.0.0.1:{controller_port}",
        "SAFE://127.0.0.1",
    )
    broker = EmbeddedKafka(
        folder / "kafka",
        overrides={
            "listeners": f"{plain},{controller},{safe}:{port}",
            "advertised.listeners": f"{plain},{safe}:{port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SAFE:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.safe.plain.sasl.jaas.config": LOGIN,
            "listener.name.safe.ssl.keystore.type": "PKCS12",
            "listener.name.safe.ssl.keystore.location": str(store),
            "listener.name.safe.ssl.keystore.password": "changeit",
        },
    )
    with broker:
        yield KafkaSettings(
            bootstrap=f"127.0.0.1:{port}",
            security_protocol="SASL_SSL",
            sasl_mechanism="PLAIN",
            sasl_username="me",
            sasl_password=SecretStr(PASSWORD),
            ssl_cafile=pem,
        )


async def test_certificate_and_password_of_the_settings_open_both_clients(settings: KafkaSettings) -> None:
    admin = Admin.connect(settings)
    admin.create([WantedTopic(name="topic", partitions=1, replication_factor=1, config={})])
    assert [admin.version(broker).release for broker in admin.brokers()] == ["4.3"]
    writer = Writer(settings)
    writer.write("topic", key=None, value=b"confluent", then=lambda _: None)
    writer.flush()
    async with AIOKafkaProducer(**clients.aiokafka_config(settings)) as producer:
        await producer.send_and_wait("topic", b"aiokafka")
    with Reader(settings, admin, "topic", from_start=True) as reader:
        assert [record.value for record in reader.existing()] == [b"confluent", b"aiokafka"]


async def test_a_wrong_password_opens_neither_and_is_not_told(settings: KafkaSettings) -> None:
    wrong = settings.model_copy(update={"sasl_password": SecretStr("hunter2hunter2")})
    with pytest.raises(clients.KafkaUnreachable, match=r"Mend kafka\.sasl_username and kafka\.sasl_password") as raised:
        Admin.connect(wrong)
    assert "hunter2" not in str(raised.value)
    producer = AIOKafkaProducer(**clients.aiokafka_config(wrong))
    with pytest.raises(errors.KafkaError):
        await producer.start()
    await producer.stop()


def test_a_certificate_that_nobody_vouches_for_is_refused(settings: KafkaSettings) -> None:
    with pytest.raises(clients.KafkaUnreachable, match=r"Mend kafka\.security_protocol and kafka\.ssl_cafile"):
        Admin.connect(settings.model_copy(update={"ssl_cafile": None}))

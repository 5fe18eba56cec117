from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from app.cli import cluster, options
from app.kafka.admin import Admin, Broker
from app.settings import Settings
from tests.unit.app.cli.conftest import FakeAdmin


@pytest.fixture(autouse=True)
def _reached(admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Admin, "connect", lambda _kafka: admin)
    monkeypatch.chdir(tmp_path)


def connected(*arguments: str, **environ: str) -> cluster.Cluster:
    found: list[cluster.Cluster] = []

    @click.command()
    @options.kafka
    def command() -> None:
        found.append(cluster.connect())

    assert CliRunner().invoke(command, list(arguments), env=environ, catch_exceptions=False).exit_code == 0
    return found[0]


def test_one_broker_on_this_machine_and_no_other_word_is_development() -> None:
    found = connected()
    assert (found.development, found.kafka.partitions, found.kafka.replication_factor) == (True, 8, 1)


def test_a_word_about_its_shape_is_heard() -> None:
    found = connected(HEADGATE_KAFKA_REPLICATION_FACTOR="2")
    assert (found.development, found.kafka.partitions, found.kafka.replication_factor) == (False, 32, 2)


def test_a_broker_elsewhere_is_no_development() -> None:
    assert not connected("--kafka", "kafka-0:9092").development
    assert not connected("--kafka", "127.0.0.1:9092,kafka-0:9092").development


def test_several_brokers_are_no_development(admin: FakeAdmin) -> None:
    admin.nodes = tuple(Broker(id=number, host="a", port=number) for number in (1, 2, 3))
    assert not connected().development


def test_people_are_told_which_numbers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    cluster.say_if_development(connected())
    cluster.say_if_development(connected("--kafka", "kafka-0:9092"))
    assert capsys.readouterr() == (
        "",
        (
            "One broker on this machine: development defaults (8 partitions, 1 copy). "
            "Set kafka.partitions and kafka.replication_factor to choose.\n"
        ),
    )


def of_worker(*arguments: str, **environ: str) -> Settings:
    found: list[Settings] = []

    @click.command()
    @options.kafka
    def command() -> None:
        found.append(cluster.settings_of_worker())

    assert CliRunner().invoke(command, list(arguments), env=environ, catch_exceptions=False).exit_code == 0
    return found[0]


def test_a_worker_beside_headgate_dev_takes_the_same_numbers_as_all_other_commands() -> None:
    assert of_worker().kafka.partitions == connected().kafka.partitions == 8


def test_a_worker_whose_settings_say_everything_does_not_ask_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Admin, "connect", lambda _kafka: pytest.fail("Kafka was asked"))
    assert of_worker("--kafka", "kafka-0:9092").kafka.partitions == 32
    assert of_worker(HEADGATE_KAFKA_PARTITIONS="5").kafka.partitions == 5

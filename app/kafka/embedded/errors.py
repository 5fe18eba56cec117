"""The errors of the embedded Kafka; everything that goes wrong around it is told in their words."""

from __future__ import annotations

from typing import ClassVar


class EmbeddedKafkaError(Exception):
    """The embedded Kafka cannot do what was asked: `fact` says what is the case, `remedy` what to do about it."""

    exit_code: ClassVar[int] = 3  # of the command that it ends: no Kafka

    def __init__(self, fact: str, *, remedy: str) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact = fact
        self.remedy = remedy


class InUseError(EmbeddedKafkaError):
    """A port or a data folder that was asked for is somebody else's: another is to be named."""

    exit_code: ClassVar[int] = 2  # as for every other taken port

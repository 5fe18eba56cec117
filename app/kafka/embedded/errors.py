"""The one error of the embedded Kafka; everything that goes wrong around it is told in its words."""

from __future__ import annotations

from typing import Final


class EmbeddedKafkaError(Exception):
    """The embedded Kafka cannot do what was asked: `fact` says what is the case, `remedy` what to do about it."""

    exit_code: Final = 3  # of the command that it ends: no Kafka

    def __init__(self, fact: str, *, remedy: str) -> None:
        super().__init__(f"{fact} {remedy}")
        self.fact = fact
        self.remedy = remedy

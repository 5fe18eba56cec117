"""Dead letters as the gateway writes them of webhooks."""

from topics.facts import Record
from topics.letters import dead_letter


def letter(value: bytes) -> Record:
    return dead_letter(
        code="filter_failed",
        reason="why",
        remedy="what to do",
        source_topic="headgate/sources/hook",
        partition=-1,
        offset=-1,
        timestamp_ms=0,
        key=None,
        value=value,
        headers=(),
        at_ms=0,
    )

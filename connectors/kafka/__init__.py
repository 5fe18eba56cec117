"""Topics of any Kafka cluster: each record is an event, and the offsets are the position.

A compressed batch that may unpack to more than 16 MiB is not unpacked: all of it is one dead letter.
"""

from typing import Final

from connectors.kafka.config import DELIVERY, EXAMPLE, Config
from connectors.kafka.source import Source

EMITS: Final = """\
the record's topic (option `type`). The data is the record's value, with `data: record` it is `{topic, partition,
offset, timestamp, key, headers, value}`. The key is the record's (option `key`)."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]

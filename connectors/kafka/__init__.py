"""Topics of any Kafka cluster: each record is an event, and the offsets are the position."""

from connectors.kafka.config import DELIVERY, EXAMPLE, Config
from connectors.kafka.source import Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]

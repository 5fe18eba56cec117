"""The embedded Kafka: a real broker as a child process, with nothing installed but Python."""

from app.kafka.embedded.broker import EmbeddedKafka, Tuning, java_command
from app.kafka.embedded.errors import EmbeddedKafkaError

__all__ = ["EmbeddedKafka", "EmbeddedKafkaError", "Tuning", "java_command"]

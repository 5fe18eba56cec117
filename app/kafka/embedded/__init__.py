"""The embedded Kafka: a real broker as a child process, with nothing installed but Python."""

from app.kafka.embedded.errors import EmbeddedKafkaError

try:
    from app.kafka.embedded.broker import EmbeddedKafka, Tuning, java_command
except ModuleNotFoundError as error:
    if error.name != "psutil":
        raise
    # As in the production image, which has neither this extra nor a Java.
    raise EmbeddedKafkaError(
        "The embedded Kafka and Kafka's own tools are not installed here: they are the extra dev-broker.",
        remedy="pip install 'headgate[dev-broker]', or use a cluster and its tools elsewhere.",
    ) from error

__all__ = ["EmbeddedKafka", "EmbeddedKafkaError", "Tuning", "java_command"]

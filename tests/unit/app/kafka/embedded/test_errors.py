from app.kafka.embedded.errors import EmbeddedKafkaError


def test_an_error_is_its_fact_and_its_remedy() -> None:
    error = EmbeddedKafkaError("The port is taken.", remedy="Take another.")

    assert ("The port is taken. Take another.", 3) == (str(error), error.exit_code)

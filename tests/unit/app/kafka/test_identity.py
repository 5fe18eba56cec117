"""Which topic of which cluster; with a broker in tests/integration/test_gateway_read_model.py."""

import pytest

from app.kafka import identity
from app.settings import KafkaSettings


async def test_a_broker_that_does_not_answer_is_an_error_that_trying_again_may_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "ANSWER_SECONDS", 0.2)
    with pytest.raises(ConnectionError, match=r"which topic headgate\.runs is"):
        await identity.identify_with(KafkaSettings(bootstrap="127.0.0.1:1"))("headgate.runs")

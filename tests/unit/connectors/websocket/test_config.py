"""Options of WebSocket sources: what fits together, and that no secret is shown."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.contract import Delivery
from connectors.websocket import DELIVERY, EXAMPLE, Config

URL = "wss://stream.example.com/v1"
TOKEN = {"url": "https://auth.example.com/token"}


def test_the_example_is_valid_and_the_kind_says_that_it_is_best_effort() -> None:
    assert Config.model_validate(EXAMPLE).subscribe[0].timeout == 5.0
    assert DELIVERY is Delivery.BEST_EFFORT


def test_every_option_is_described() -> None:
    properties = Config.model_json_schema()["properties"]
    assert [name for name, one in properties.items() if not one.get("description")] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "https://stream.example.com"}, "url"),
        ({"ack": {"ack": "{{ id }}"}}, "ack needs id_pointer"),
        ({"ack": {"ack": "{{ token }}"}, "id_pointer": "/id"}, "places here begin with data or id or type"),
        ({"subscribe": [{"message": "{{ position }}"}]}, "needs resume"),
        ({"subscribe": [{"message": "{{ token }}"}]}, "needs token"),
        ({"subscribe": [{"message": "{{ id }}"}]}, "places here begin with position or token"),
        ({"subscribe": [{"message": "a", "answer": {"ok": 1}}]}, "no field of an event"),
        ({"token": {**TOKEN, "put": "message"}}, "no message of subscribe has the place"),
        ({"token": {**TOKEN, "url": "ftp://a"}}, "token.url"),
        ({"id_pointer": "id"}, "begins with /"),
        ({"overflow": "drop"}, "overflow"),
        ({"max_message_bytes": 0}, "max_message_bytes"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        Config.model_validate({"url": URL, **options})
    assert words in str(error.value)


def test_no_secret_is_shown() -> None:
    secret = "canary"
    options = {
        "url": URL,
        "headers": {"X-Key": secret},
        "subscribe": [{"message": {"key": secret}}, {"message": secret}],
        "token": {**TOKEN, "headers": {"A": secret}, "body": {"b": secret}},
    }
    config = Config.model_validate(options)
    assert secret not in str(config.shown())
    assert secret not in repr(config)
    with pytest.raises(ValidationError) as error:
        Config.model_validate({**options, "subscribe": [{"message": f"{secret} {{{{"}], "headers": {"Y": [secret]}})
    assert secret not in str(error.value)

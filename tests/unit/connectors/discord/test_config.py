"""The options."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.contract import Delivery
from connectors.discord import DELIVERY, EXAMPLE, Config


def test_the_example_is_valid_and_every_option_is_described() -> None:
    assert Config(**EXAMPLE | {"token": "a.b.c"}).intents == 33281
    assert all(field.description for field in Config.model_fields.values())
    assert DELIVERY is Delivery.AT_LEAST_ONCE


def test_the_defaults_are_those_that_are_promised() -> None:
    config = Config.model_validate({"token": "a.b.c"})
    assert config.model_dump(exclude={"token"}) == {
        "intents": 33281,
        "events": (),
        "shard": None,
        "backfill": True,
        "backfill_channels": (),
        "backfill_limit": 10_000,
        "api_url": "https://discord.com/api/v10",
    }


def test_the_token_is_shown_nowhere_and_may_have_its_prefix() -> None:
    config = Config.model_validate({"token": "Bot canary.canary.canary "})
    assert config.token.get_secret_value() == "canary.canary.canary"
    assert "canary" not in f"{config!r}{config}{config.shown()}"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"token": ""}, "at least 1"),
        ({"token": "canary\r\nX: y"}, "visible letters"),
        ({"token": "canáry"}, "visible letters"),
        ({"token": "canary" * 100}, "at most 512"),
        ({"intents": ["NOPE"]}, "no intent 'NOPE'"),
        ({"intents": -1}, "greater than or equal to 0"),
        ({"events": ["message create"]}, "pattern"),
        ({"events": ["READY"]}, "never an event"),
        ({"shard": [2, 2]}, "0 to count - 1"),
        ({"shard": [0]}, "required"),
        ({"backfill_channels": ["general"]}, "pattern"),
        ({"api_url": "ftp://x"}, "a URL here begins with http"),
        ({"api_key": "canary"}, "not permitted"),
    ],
)
def test_what_is_wrong_is_told_without_its_value(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as error:
        Config(**{"token": "a.b.c", **wrong})
    assert "can" not in str(error.value).replace("cannot", "")


def test_types_are_taken_in_any_case_and_the_session_is_no_event() -> None:
    some = Config.model_validate({"token": "t", "events": ["MESSAGE_CREATE"]})
    everything = Config.model_validate({"token": "t"})
    assert [some.takes(one) for one in ("message_create", "message_delete", "ready")] == [True, False, False]
    assert [everything.takes(one) for one in ("message_create", "a_new_one", "ready", "resumed")] == [
        True,
        True,
        False,
        False,
    ]

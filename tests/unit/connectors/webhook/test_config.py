"""The options of webhooks: what fits together, and that no error and no view has a secret."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.contract import Delivery
from connectors.webhook import DELIVERY, EXAMPLE, Config, Provider
from connectors.webhook.config import _NEEDED, _OPTIONS
from tests.unit.connectors.webhook.signing import PUBLIC, SECRET, SENDERS, WHPK, WHSEC, config


def test_the_example_is_valid_and_says_what_can_be_counted_on() -> None:
    assert Config(**EXAMPLE).provider == Provider.GITHUB
    assert DELIVERY is Delivery.AT_LEAST_ONCE


@pytest.mark.parametrize("name", SENDERS)
def test_each_provider_has_options_that_suffice(name: str) -> None:
    Config(**SENDERS[name].options)


def test_every_field_is_described_and_every_provider_has_its_rows() -> None:
    assert [name for name, field in Config.model_fields.items() if not field.description] == []
    assert set(_OPTIONS) == set(_NEEDED) == set(Provider)
    assert set().union(*_OPTIONS.values()) <= set(Config.model_fields)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "provider"),
        ({"provider": "gitlab"}, "provider"),
        ({"provider": "github"}, "needs secret"),
        ({"provider": "github", "secret": ""}, "empty"),
        ({"provider": "github", "secret": [SECRET, ""]}, "empty"),
        ({"provider": "github", "secret": SECRET, "header": "x"}, "no use for header"),
        ({"provider": "github", "secret": SECRET, "tolerance": 5}, "no use for tolerance"),
        ({"provider": "none", "secret": SECRET}, "no use for secret"),
        ({"provider": "discord", "secret": SECRET}, "no use for secret"),
        ({"provider": "discord"}, "needs public_key"),
        ({"provider": "discord", "public_key": "zz"}, "public_key"),
        ({"provider": "discord", "public_key": PUBLIC.hex()[2:]}, "32 bytes"),
        ({"provider": "standard"}, "secret or public_key"),
        ({"provider": "standard", "secret": "whsec_not base64"}, "base64"),
        ({"provider": "standard", "secret": "whsec_AAAA"}, "at least"),
        ({"provider": "standard", "secret": WHPK}, "public_key"),
        ({"provider": "standard", "secret": "whsk_AAAA"}, "private key"),
        ({"provider": "standard", "public_key": WHSEC}, "is a secret"),
        ({"provider": "hmac", "secret": SECRET, "signed": "{timestamp}"}, "body"),
        ({"provider": "hmac", "secret": SECRET, "signed": "{timestamp}.{body}"}, "timestamp_header"),
        ({"provider": "hmac", "secret": SECRET, "timestamp_header": "x-t"}, "proves nothing"),
        ({"provider": "hmac", "secret": SECRET, "signed": "{id}{body}"}, "id_header"),
        (
            {"provider": "hmac", "secret": SECRET, "timestamp_part": "t", "signed": "{timestamp}{body}"},
            "signature_part",
        ),
        ({"provider": "token", "secret": SECRET, "query_parameter": "k", "header": "x"}, "instead"),
        ({"provider": "token", "secret": SECRET, "header": "a b"}, "header"),
        ({"provider": "none", "challenge": "meta"}, "verify_token"),
        ({"provider": "none", "challenge": "meta", "verify_token": ""}, "empty"),
        ({"provider": "none", "verify_token": "x"}, "meta"),
        ({"provider": "none", "allowed_origins": ["a"]}, "cloudevents"),
        ({"provider": "none", "answer_status": 302}, "answer_status"),
        ({"provider": "none", "content_types": ["json"]}, "content_types"),
        ({"provider": "none", "id_field": "a..b"}, "id_field"),
        ({"provider": "none", "secert": "x"}, "secert"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_name(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Config(**options)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)
    assert WHSEC not in str(refused.value)


def test_a_secret_of_standard_webhooks_may_lack_its_prefix_and_its_padding() -> None:
    for text in ("whsec_QUFBQUFBQUFBQUFBQUFBQQ==", "whsec_QUFBQUFBQUFBQUFBQUFBQQ", "QUFBQUFBQUFBQUFBQUFBQQ"):
        assert config(provider="standard", secret=text).standard_secrets() == (b"A" * 16,)


def test_secrets_are_not_shown() -> None:
    hook = config(provider="hmac", secret=[SECRET], challenge="meta", verify_token="the-verify-token")
    shown = f"{hook!r} {hook.shown()}"
    assert SECRET not in shown
    assert "the-verify-token" not in shown

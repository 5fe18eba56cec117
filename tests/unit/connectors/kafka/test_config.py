"""Options of Kafka sources: what goes together, and certificates as text."""

import ssl
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import kafka
from connectors.base.contract import Refused
from connectors.kafka.config import Config, tls_context
from tests.unit.connectors.certificates import pem

LEAST: dict[str, Any] = {"bootstrap": ["b.example:9092"], "topics": ["orders"]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "o*"}, "give either `topics` or a `pattern`"),
        ({"topics": None}, "give either `topics` or a `pattern`"),
        ({"topics": ["a/b"]}, "String should match pattern"),
        ({"bootstrap": ["b.example"]}, "String should match pattern"),
        ({"bootstrap": ["user:canary@b.example:9092"]}, "String should match pattern"),
        ({"bootstrap": []}, "at least 1 item"),
        ({"start": "yesterday"}, "it is `latest`, `earliest` or a time: 'yesterday' is not an RFC 3339 time"),
        ({"username": "u"}, "username and password go together"),
        ({"security": "SASL_SSL"}, "`security` with SASL needs username and password"),
        ({"username": "u", "password": "canary"}, "and they need `security` with SASL"),
        ({"security": "SSL", "tls_key": "canary"}, "tls_certificate and tls_key go together"),
        ({"tls_ca": "canary"}, "options of TLS mean nothing without it"),
        ({"type": "{{ data.kind }}"}, "'data.kind' in '{{ data.kind }}' is no field of an event"),
        ({"key": "{{ value.id"}, "without its other half"),
    ],
)
def test_options_that_mean_nothing_are_told_without_secrets(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Config(**(LEAST | options))

    assert message in str(raised.value)
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("server", ["b.example:9092", "10.0.0.1:9092", "[2001:db8::1]:9092", "b_1.example:65535"])
def test_brokers_are_host_and_port(server: str) -> None:
    assert Config(**(LEAST | {"bootstrap": [server]})).bootstrap == [server]


def test_the_example_is_valid_and_hides_its_password() -> None:
    config = Config(**kafka.EXAMPLE)

    assert config.shown()["password"] == "**********"
    assert (config.uses_sasl, config.uses_tls, config.start_ms) == (True, True, None)
    assert Config(**LEAST, start="2026-06-01T00:00:00Z").start_ms == 1_780_272_000_000


def tls(**options: Any) -> ssl.SSLContext:
    return tls_context(Config(**LEAST, security="SSL", **options))


def test_certificates_are_text() -> None:
    ours, key = pem("client.example")
    context = tls(tls_ca=ours, tls_certificate=ours, tls_key=key)

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.cert_store_stats()["x509"] == 1


def test_what_is_no_certificate_is_refused_without_being_told() -> None:
    ours, _ = pem("client.example")
    hidden = pem("client.example", password=b"x")
    for options, problem in (
        ({"tls_ca": "canary"}, "tls_ca has no certificate in PEM that can be used"),
        ({"tls_ca": ours.replace("M", "canary", 1)}, "tls_ca has no certificate in PEM that can be used"),
        ({"tls_certificate": ours, "tls_key": "canary"}, "tls_certificate and tls_key cannot be used together"),
        ({"tls_certificate": ours, "tls_key": pem("x")[1]}, "cannot be used together: KEY_VALUES_MISMATCH"),
        ({"tls_certificate": hidden[0], "tls_key": hidden[1]}, "tls_certificate and tls_key cannot be used together"),
    ):
        with pytest.raises(Refused) as raised:
            tls(**options)

        assert problem in str(raised.value)
        assert "canary" not in str(raised.value)

"""Secrets that stand in options in clear."""

from typing import Any

import pytest

from connectors.base.kinds import declared, provided, registry, unnamed
from connectors.base.kinds.declared import UnsuitableSource
from topics.sources import Spec

CANARY = "canary-0123456789"
HTTP = {"url": "https://a.example/s"}
SOCKET = {"url": "wss://a.example/s"}
REST = {"url": "https://a.example/x"}
SQL = {"table": "items", "column": "n", "id": "n"}
KAFKA = {"bootstrap": ["h:9092"], "topics": ["orders"]}
AWS = {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q", "access_key_id": "AKIDEXAMPLE"}
REDIS = {"streams": ["orders"]}


@pytest.mark.parametrize(
    ("kind", "options", "place"),
    [
        ("discord", {"token": CANARY}, "token"),
        ("slack", {"app_token": "{{ env.T }}", "bot_token": CANARY}, "bot_token"),
        ("webhook", {"provider": "github", "secret": CANARY}, "secret"),
        ("webhook", {"provider": "github", "secret": ["{{ env.S }}", CANARY]}, "secret/1"),
        ("sqs", {**AWS, "secret_access_key": CANARY}, "secret_access_key"),
        (
            "pubsub",
            {"subscription": "projects/p1/subscriptions/orders", "credentials": '{"private_key": "x"}'},
            "credentials",
        ),
        (
            "kafka",
            {**KAFKA, "security": "SASL_SSL", "sasl_mechanism": "PLAIN", "username": "u", "password": CANARY},
            "password",
        ),
        ("redis", {**REDIS, "url": "redis://h:6379/0", "password": CANARY}, "password"),
        ("redis", {**REDIS, "url": f"redis://:{CANARY}@h:6379/0"}, "url"),
        ("poll", {"sql": {**SQL, "database": f"postgresql://reader:{CANARY}@h/shop"}}, "sql/database"),
        ("poll", {"rest": {**REST, "headers": {"x-api-key": CANARY}}}, "rest/headers/x-api-key"),
        (
            "poll",
            {"rest": {**REST, "method": "POST", "body": {"auth": [{"accessToken": CANARY}]}}},
            "rest/body/auth/0/accessToken",
        ),
        ("rss", {"url": f"https://reader:{CANARY}@a.example/feed"}, "url"),
        ("rss", {"url": "https://reader:123456@a.example/feed"}, "url"),
        ("rss", {"url": f"https://{{{{ env.USER }}}}:{CANARY}@a.example/feed"}, "url"),
        ("rss", {"url": f"https://reader:p/{CANARY}@a.example/feed"}, "url"),
        ("rss", {"url": f"https://a.example/feed?n=5&private_token={CANARY}"}, "url"),
        ("http-stream", {**HTTP, "headers": {"Authorization": f"Bearer {CANARY}"}}, "headers/Authorization"),
        ("http-stream", {**HTTP, "headers": {"Proxy-Authorization": CANARY}}, "headers/Proxy-Authorization"),
        ("http-stream", {**HTTP, "headers": {"cookie": CANARY}}, "headers/cookie"),
        ("http-stream", {**HTTP, "headers": {"X-Vault-Token": CANARY}}, "headers/X-Vault-Token"),
        ("http-stream", {**HTTP, "headers": {"X-Client-Secret": CANARY}}, "headers/X-Client-Secret"),
        ("http-stream", {**HTTP, "headers": {"api-key": CANARY}}, "headers/api-key"),
        (
            "websocket",
            {**SOCKET, "token": {"url": HTTP["url"], "headers": {"X-Auth-Key": CANARY}}},
            "token/headers/X-Auth-Key",
        ),
        (
            "websocket",
            {**SOCKET, "subscribe": [{"message": {"op": "auth", "token": CANARY}}]},
            "subscribe/0/message/token",
        ),
    ],
)
def test_a_secret_in_clear_is_refused_by_its_place_alone(kind: str, options: dict[str, Any], place: str) -> None:
    with pytest.raises(UnsuitableSource) as raised:
        declared.check(Spec(id="a", kind=kind, options=options))

    assert str(raised.value) == (
        f"/options/{place}: a secret stands here in clear, and Kafka would keep it so. Name it instead, where the "
        'source runs: "{{ env.NAME }}" is a variable, "{{ file.NAME }}" a file of the folder connectors.secrets'
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("discord", {"token": "Bot {{ env.T }}"}),
        ("webhook", {"provider": "github", "secret": ["{{ file.NEW }}", "{{ file.OLD }}"]}),
        ("http-stream", {**HTTP, "headers": {"Authorization": "Bearer {{ env.T }}", "Accept": "text/event-stream"}}),
        ("http-stream", {**HTTP, "headers": {"X-Client": "headgate", "X-Idempotency-Key": "1", "Via": "keys"}}),
        ("redis", {**REDIS, "url": "redis://reader@h:6379/0"}),
        ("redis", {**REDIS, "url": "redis://reader:{{ env.P }}@h:6379/0"}),
        ("redis", {**REDIS, "url": "{{ env.REDIS_URL }}"}),
        ("poll", {"sql": {**SQL, "database": "sqlite:////srv/shop.db"}}),
        ("poll", {"sql": {**SQL, "database": "postgresql://reader:{{ file.P }}@h:5432/shop?sslmode=require"}}),
        ("rss", {"url": "https://a.example:8443/@someone?page=2&api_key={{ env.K }}"}),
        ("rss", {"url": "https://[2001:db8::1]:8443/@someone"}),
        ("websocket", {**SOCKET, "subscribe": [{"message": {"op": "sub", "channels": ["BTC-USD"]}}]}),
        ("websocket", {**SOCKET, "token": {"url": HTTP["url"]}}),
    ],
)
def test_what_is_public_or_named_may_stand_there(kind: str, options: dict[str, Any]) -> None:
    declared.check(Spec(id="a", kind=kind, options=options))


def test_certificates_are_no_secrets_and_their_key_is() -> None:
    config = registry.load("kafka").config
    pem = "-----BEGIN {0}-----\nMIIB\n-----END {0}-----\n"
    options = {
        "tls_ca": pem.format("CERTIFICATE"),
        "tls_certificate": pem.format("CERTIFICATE"),
        "tls_key": pem.format("PRIVATE KEY"),
    }

    assert [("tls_key",)] == [one.place for one in unnamed.find(config, options)]
    both = {"tls_ca": pem.format("CERTIFICATE") + pem.format("PRIVATE KEY")}
    assert [("tls_ca",)] == [one.place for one in unnamed.find(config, both)]


def test_options_of_third_parties_are_told_by_their_names() -> None:
    options = {"harbour": "Brest", "password": CANARY, "login": {"api_key": CANARY, "user": "me"}, "tokens": 5}
    found = list(unnamed.find(provided.AnyOptions, options))

    assert [("password",), ("login", "api_key")] == [one.place for one in found]
    assert {CANARY} == {one.text for one in found}


@pytest.mark.parametrize("kind", registry.names())
def test_no_option_is_too_odd(kind: str) -> None:
    config = registry.load(kind).config
    odds: tuple[Any, ...] = (None, 5, True, "", " ", [], [[]], {}, {"": {}}, [None, {"token": None}], {"x": [{"y": 1}]})
    for odd in odds:
        assert [] == list(unnamed.find(config, dict.fromkeys(config.model_fields, odd)))

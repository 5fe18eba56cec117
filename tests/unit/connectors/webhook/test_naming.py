"""Ids and types of deliveries, by provider."""

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base.services.signature import digest_of
from connectors.webhook import Config
from connectors.webhook.naming import Name, id_of, name_of, time_of
from tests.unit.connectors.webhook.signing import PUBLIC, SECRET, WHSEC, request

RAW = b"raw"
HASH = digest_of(RAW)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
AT = int(JUNE.timestamp())


def name(options: dict[str, Any], body: Any, headers: dict[str, str] | None = None) -> Name:
    return name_of(Config(**options), request(RAW, headers), body)


GITHUB = {"provider": "github", "secret": SECRET}
STRIPE = {"provider": "stripe", "secret": SECRET}
SLACK = {"provider": "slack", "secret": SECRET}
STANDARD = {"provider": "standard", "secret": WHSEC}
DISCORD = {"provider": "discord", "public_key": PUBLIC.hex()}


@pytest.mark.parametrize(
    ("options", "body", "headers", "expected"),
    [
        (GITHUB, {}, {"x-github-delivery": "d-1", "x-github-event": "issues"}, Name(id="d-1", type="issues")),
        (GITHUB, {}, {}, Name(id=HASH, type="received")),
        (
            STRIPE,
            {"id": "evt_1", "type": "charge.failed", "created": AT},
            {},
            Name(id="evt_1", type="charge.failed", created_at=JUNE),
        ),
        (STRIPE, [1], {}, Name(id=HASH, type="received")),
        (
            SLACK,
            {"type": "event_callback", "event_id": "Ev1", "event_time": AT, "event": {"type": "app_mention"}},
            {},
            Name(id="Ev1", type="app_mention", created_at=JUNE),
        ),
        (SLACK, {"command": "/x", "trigger_id": "t1"}, {}, Name(id="t1", type="slash_command")),
        (SLACK, {"type": "block_actions", "trigger_id": "t2"}, {}, Name(id="t2", type="interactive")),
        (SLACK, {"type": "view_closed"}, {}, Name(id=HASH, type="interactive")),
        (SLACK, {"type": "app_rate_limited"}, {}, Name(id=HASH, type="app_rate_limited")),
        (SLACK, None, {}, Name(id=HASH, type="received")),
        (
            STANDARD,
            {"type": "user.created", "timestamp": "2026-06-01T00:00:00Z", "data": {}},
            {"webhook-id": "msg_1"},
            Name(id="msg_1", type="user.created", created_at=JUNE),
        ),
        (STANDARD, "text", {"webhook-id": "msg_1"}, Name(id="msg_1", type="received")),
        (DISCORD, {"id": "99", "type": 2}, {}, Name(id="99", type="application_command")),
        (DISCORD, {"id": "99", "type": 77}, {}, Name(id="99", type="received")),
        (
            DISCORD,
            {"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "timestamp": "2026-06-01T00:00:00Z"}},
            {},
            Name(id=HASH, type="APPLICATION_AUTHORIZED", created_at=JUNE),
        ),
        ({"provider": "none"}, {"id": 1}, {}, Name(id=HASH, type="received")),
        (
            {"provider": "none", "id_field": "meta.id", "type_field": "meta.kind"},
            {"meta": {"id": 17, "kind": "sold"}},
            {},
            Name(id="17", type="sold"),
        ),
        (
            {"provider": "none", "id_header": "X-Id", "id_field": "id", "type_header": "x-type", "type_field": "t"},
            {"id": "body", "t": "body"},
            {"x-id": " h ", "x-type": "head"},
            Name(id="h", type="head"),
        ),
        (
            {"provider": "none", "id_header": "x-id", "id_field": "id"},
            {"id": "body"},
            {},
            Name(id="body", type="received"),
        ),
    ],
)
def test_a_delivery_is_called_as_its_provider_says(
    options: dict[str, Any], body: Any, headers: dict[str, str], expected: Name
) -> None:
    assert name(options, body, headers) == expected


@pytest.mark.parametrize("wrong", [None, "", "x" * 401, "a\nb", 1.5, True, [], {}])
def test_an_id_that_cannot_be_one_gives_way_to_the_hash_of_the_body(wrong: Any) -> None:
    assert name({"provider": "none", "id_field": "id"}, {"id": wrong}) == Name(id=HASH, type="received")


@pytest.mark.parametrize("wrong", [None, "", " ", "x" * 201, "a\nb", 7])
def test_a_type_that_cannot_be_one_gives_way_to_the_usual_one(wrong: Any) -> None:
    assert name({"provider": "none", "type_field": "t"}, {"t": wrong}).type == "received"


@pytest.mark.parametrize("wrong", [None, "", "yesterday", -1, 0, 1e300, float("nan"), True, [], "0000-00-00T00:00:00Z"])
def test_a_time_that_is_none_is_none(wrong: Any) -> None:
    assert time_of(wrong) is None


def test_a_text_that_is_too_long_for_an_id_is_hashed() -> None:
    assert id_of("short") == "short"
    assert id_of("x" * 401) == digest_of(b"x" * 401)

"""Deliveries through the gateway: bounded, then proven, then produced; and what is answered when something is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client import generate_latest

from app.gateway.limits import MOST_REQUESTS
from app.kafka.producer import MaybeAccepted, NotAccepted
from app.settings import LimitSettings
from connectors.base.services.signature import digest_of
from tests.unit.connectors.webhook import signing
from topics import codec

SECRET = signing.SECRET
BODY = b'{"action":"opened"}'


async def deliver(served: Any, path: str, body: Any = BODY, method: str = "POST", **headers: Any) -> httpx.Response:
    """As a sender does: without the gateway's token."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    client = httpx.AsyncClient(transport=served.client._transport, base_url="http://gateway")
    return await client.request(
        method, path, content=body, headers={"content-type": "application/json", "user-agent": "sender"} | given
    )


def failure(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_delivery_is_an_event_with_its_own_id(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET)])
        parent = f"00-{'a' * 32}-{'b' * 16}-01"
        headers = signing.github(BODY) | {"traceparent": parent, "authorization": "Basic canary"}
        answer = await deliver(served, "/webhooks/github/repo?a=1", **headers)
        ((key, home, value, record_headers),) = served.producer.written
    delivery = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    assert (answer.status_code, answer.json()) == (202, {"event_id": delivery})
    event = codec.decode(value, key, record_headers, partition=0, offset=0, timestamp_ms=0, max_bytes=None)
    assert (event.id, event.topic, event.event_type, event.key) == (delivery, "repo/issues", "issues", None)
    assert (event.source, home, event.explicit) == ("headgate/sources/repo", delivery, True)
    assert event.traceparent == parent
    assert (event.data["body"], event.data["query"]) == ({"action": "opened"}, {"a": "1"})
    assert event.data["headers"]["user-agent"] == "sender"
    assert b"canary" not in value
    told = dict(record_headers)
    assert (told["provider"], told["instance"], told["type"]) == (b"webhook", b"repo", b"issues")
    assert told["received_at"].isdigit()


async def test_what_was_received_is_counted_and_shown(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers(
            [set_up("hook", spec={"filter": {"type": "sold"}}, provider="none", type_field="t")]
        )
        await deliver(served, "/webhooks/none/hook", b'{"t":"sold"}')
        turned_away = await deliver(served, "/webhooks/none/hook", b'{"t":"seen"}')
        await deliver(served, "/webhooks/none/hook", method="GET")
        found = (await served.client.get("/api/v1/sources/hook")).json()["source"]
        page = (await served.client.get("/metrics")).text
        assert len(served.producer.written) == 1
    assert turned_away.status_code == 202
    assert (found["events_received"], found["events_filtered"], found["notes"]) == (2, 1, {"method_not_allowed": 1})
    assert found["last_event_at"] is not None
    assert found["last_byte_at"] is not None
    for line in (
        'triggers_events_received_total{provider="webhook"} 2.0',
        'triggers_events_filtered_total{provider="webhook",result="turned_away"} 1.0',
        'triggers_events_published_total{provider="webhook"} 1.0',
        'triggers_noted_total{provider="webhook",what="method_not_allowed"} 1.0',
        "headgate_gateway_events_produced_total 1.0",
        'headgate_gateway_requests_total{route="/webhooks/{provider}/{id}",status="202"} 2.0',
    ):
        assert line in page, line


@pytest.mark.parametrize(
    "path", ["github/none", "github/", "github", "stripe/repo", "GITHUB/repo", "github/repo/x", ""]
)
@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS"])
async def test_an_unknown_id_and_another_provider_are_one_answer(
    serve: Any, set_up: Any, path: str, method: str
) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET)])
        answer = await deliver(served, f"/webhooks/{path}", method=method)
    assert failure(answer) == (404, "webhook_not_found")


async def test_a_gateway_that_does_not_know_yet_what_is_set_up_says_later(serve: Any) -> None:
    async with serve() as served:
        served.sources.known = lambda: False
        answer = await deliver(served, "/webhooks/github/repo")
    assert (failure(answer), answer.headers["retry-after"]) == ((503, "sources_not_read"), "1")


async def test_a_wrong_signature_is_401_and_nothing_is_written(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET)])
        for headers in ({}, signing.github(b"other"), {"x-hub-signature-256": b"sha256=\xff"}):
            assert (await deliver(served, "/webhooks/github/repo", **headers)).status_code == 401
        assert served.producer.written == []
        notes = served.sources.hooks.status("repo").notes
    assert notes == {"signature_missing": 1, "signature_wrong": 2}


async def test_the_size_comes_before_the_proof(serve: Any, set_up: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10

    async with serve(max_body_bytes=100) as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET)])
        assert failure(await deliver(served, "/webhooks/github/repo", b"x" * 101)) == (413, "body_too_large")
        assert failure(await deliver(served, "/webhooks/github/repo", chunks())) == (413, "body_too_large")
        assert served.gateway.flight.body_bytes == 0


async def test_a_source_may_have_a_smaller_bound_and_no_larger_one(serve: Any, set_up: Any) -> None:
    async with serve(max_body_bytes=100) as served:
        await served.sources.take_triggers([set_up("small", provider="none", max_body_bytes=10)])
        await served.sources.take_triggers([set_up("large", provider="none", max_body_bytes=1000, offset=1)])
        assert failure(await deliver(served, "/webhooks/none/small", b'"0123456789"')) == (413, "body_too_large")
        assert (await deliver(served, "/webhooks/none/large", b'"0123456789"')).status_code == 202
        assert failure(await deliver(served, "/webhooks/none/large", b"1" * 101)) == (413, "body_too_large")


async def test_an_unknown_source_is_404_before_its_body_is_asked_for(serve: Any) -> None:
    asked = []

    async def body() -> AsyncIterator[bytes]:
        asked.append(1)
        yield b"{}"

    async with serve() as served:
        assert (await deliver(served, "/webhooks/none/hook", body())).status_code == 404
    assert asked == []


async def test_a_chunked_body_is_proven_as_a_whole(serve: Any, set_up: Any) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for at in range(len(BODY)):
            yield BODY[at : at + 1]

    async with serve() as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET)])
        assert (await deliver(served, "/webhooks/github/repo", chunks(), **signing.github(BODY))).status_code == 202


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotAccepted("Kafka is not reachable.", retry_after_seconds=2), "kafka_unavailable"),
        (MaybeAccepted("Kafka did not acknowledge.", retry_after_seconds=2), "kafka_no_answer"),
    ],
)
async def test_while_kafka_is_away_it_is_503_and_nothing_counts_as_received(
    serve: Any, set_up: Any, error: Any, code: str
) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        served.producer.error = error
        answer = await deliver(served, "/webhooks/none/hook")
        assert (failure(answer), answer.headers["retry-after"]) == ((503, code), "2")
        assert served.sources.hooks.status("hook").events_received == 0


async def test_it_is_answered_only_once_kafka_has_it(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        arrived, acknowledged = asyncio.Event(), asyncio.Event()

        async def slow(_events: Any) -> None:
            arrived.set()
            await acknowledged.wait()

        served.producer.produce = slow
        delivering = asyncio.create_task(deliver(served, "/webhooks/none/hook"))
        await arrived.wait()
        assert not delivering.done()
        acknowledged.set()
        assert (await delivering).status_code == 202


async def test_equal_deliveries_at_once_have_one_id_and_one_home(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        answers = await asyncio.gather(*(deliver(served, "/webhooks/none/hook") for _ in range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert {(key, home) for key, home, _, _ in served.producer.written} == {(None, digest_of(BODY))}
        assert {value["id"] for value in served.producer.values()} == {digest_of(BODY)}


async def test_a_source_has_a_rate_of_its_own_for_what_is_proven(serve: Any, set_up: Any) -> None:
    now = 0.0
    async with serve(clock=lambda: now) as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret=SECRET, rate_per_second=2)])
        for _ in range(5):
            assert (await deliver(served, "/webhooks/github/repo")).status_code == 401
        signed = signing.github(BODY)
        first = [(await deliver(served, "/webhooks/github/repo", **signed)).status_code for _ in range(3)]
        limited = await deliver(served, "/webhooks/github/repo", **signed)
        now = 0.5
        again = await deliver(served, "/webhooks/github/repo", **signed)
    assert (first, failure(limited), limited.headers["retry-after"]) == ([202, 202, 429], (429, "rate_limited"), "1")
    assert again.status_code == 202


async def test_the_gateways_rate_holds_as_well(serve: Any, set_up: Any) -> None:
    async with serve(rate_limit_per_second=1) as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        assert (await deliver(served, "/webhooks/none/hook")).status_code == 202
        assert failure(await deliver(served, "/webhooks/none/hook")) == (429, "rate_limited")


async def test_a_paused_and_a_failed_source_say_later(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("paused", spec={"paused": True}, provider="none")])
        await served.sources.take_triggers([set_up("failed", provider="github", secret="{{ env.CANARY }}", offset=1)])
        for name, provider in (("paused", "none"), ("failed", "github")):
            answer = await deliver(served, f"/webhooks/{provider}/{name}")
            assert (failure(answer), answer.headers["retry-after"]) == ((503, f"source_{name}"), "30")
            assert "CANARY" not in answer.text


async def test_secrets_come_from_the_gateways_environment(serve: Any, set_up: Any) -> None:
    async with serve(environment={"HOOK_SECRET": SECRET}) as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret="{{ env.HOOK_SECRET }}")])
        assert (await deliver(served, "/webhooks/github/repo", **signing.github(BODY))).status_code == 202


async def test_a_variable_that_sources_may_not_name_is_no_secret_of_a_webhook(serve: Any, set_up: Any) -> None:
    async with serve(environment={"HOOK_SECRET": SECRET}, secret_names=["SHOP_*"]) as served:
        await served.sources.take_triggers([set_up("repo", provider="github", secret="{{ env.HOOK_SECRET }}")])
        assert (await deliver(served, "/webhooks/github/repo", **signing.github(BODY))).status_code == 503


async def test_handshakes_are_answered_and_become_no_events(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers(
            [set_up("meta", provider="hmac", secret=SECRET, challenge="meta", verify_token="the-verify-token")]
        )
        await served.sources.take_triggers([set_up("cloud", provider="none", challenge="cloudevents", offset=1)])
        query = "hub.mode=subscribe&hub.challenge=42&hub.verify_token=the-verify-token"
        meta = await deliver(served, f"/webhooks/hmac/meta?{query}", b"", "GET")
        cloud = await deliver(served, "/webhooks/none/cloud", b"", "OPTIONS", webhook_request_origin="shop.example")
        wrong = await deliver(served, "/webhooks/none/cloud", b"", "DELETE")
        assert served.producer.written == []
        assert served.sources.hooks.status("meta").notes == {"handshake": 1}
    assert (meta.status_code, meta.text, meta.headers["x-content-type-options"]) == (200, "42", "nosniff")
    assert (cloud.status_code, cloud.headers["webhook-allowed-origin"]) == (200, "shop.example")
    assert (failure(wrong), wrong.headers["allow"]) == ((405, "method_not_allowed"), "OPTIONS, POST")


async def test_an_answer_without_content_has_no_length(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none", answer_status=204)])
        answer = await deliver(served, "/webhooks/none/hook")
    assert (answer.status_code, "content-length" in answer.headers, answer.content) == (204, False, b"")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"filter": {"data.body.n": {"gt": 1}}}, "filter_failed"),
        ({"topic": "{{ data.body.missing }}"}, "template_failed"),
        ({"topic": "{{ data.body.blank }}"}, "topic_invalid"),
    ],
)
async def test_a_delivery_that_the_sources_own_rules_fail_on_is_a_dead_letter(
    serve: Any, set_up: Any, options: dict[str, Any], code: str
) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", spec=options, provider="none")])
        answer = await deliver(served, "/webhooks/none/hook", b'{"n":"text","blank":" "}')
        (letter,) = served.letters.values()
        status = served.sources.hooks.status("hook")
        assert served.producer.written == []
    assert answer.status_code == 202
    assert (letter["code"], letter["source"]["topic"]) == (code, "headgate/sources/hook")
    assert (status.dead_letters, status.events_received) == (1, 1)


async def test_without_the_dead_letter_nothing_is_answered_as_taken(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", spec={"topic": "{{ data.body.x }}"}, provider="none")])
        served.letters.error = NotAccepted("Kafka is not reachable.", retry_after_seconds=2)
        assert failure(await deliver(served, "/webhooks/none/hook")) == (503, "kafka_unavailable")


async def test_what_the_sender_alone_can_mend_is_told_to_it(serve: Any, set_up: Any) -> None:
    async with serve(limits=LimitSettings(event_bytes=2000)) as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        large = await deliver(served, "/webhooks/none/hook", orjson.dumps("x" * 3000))
        deep = await deliver(served, "/webhooks/none/hook", b"[" * 200 + b"]" * 200)
        broken = await deliver(served, "/webhooks/none/hook", b"{")
        assert (served.producer.written, served.letters.written) == ([], [])
    assert (failure(large), failure(deep), failure(broken)) == (
        (413, "event_too_large"),
        (422, "wrong_fields"),
        (400, "not_json"),
    )


async def test_a_batch_of_cloud_events_is_taken_as_a_whole_or_not_at_all(serve: Any, set_up: Any) -> None:
    event = {"specversion": "1.0", "source": "/shop", "type": "sold"}
    async with serve(limits=LimitSettings(event_bytes=2000)) as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        content = {"content_type": "application/cloudevents-batch+json"}
        batch = [event | {"id": str(n)} for n in range(3)]
        taken = await deliver(served, "/webhooks/none/hook", orjson.dumps(batch), **content)
        assert [value["id"] for value in served.producer.values()] == ["/shop#0", "/shop#1", "/shop#2"]
        batch[1]["data"] = "x" * 3000
        refused = await deliver(served, "/webhooks/none/hook", orjson.dumps(batch), **content)
        assert len(served.producer.written) == 3
    assert (taken.status_code, failure(refused)) == (202, (413, "event_too_large"))


async def test_webhooks_are_bounded_like_everything_else(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        served.gateway.flight.requests = MOST_REQUESTS
        assert failure(await deliver(served, "/webhooks/none/hook")) == (503, "gateway_busy")
        served.gateway.flight.requests = 0
        await deliver(served, "/webhooks/none/hook")
        assert (served.gateway.flight.requests, served.gateway.flight.body_bytes) == (0, 0)


async def test_an_unknown_error_is_500_in_the_same_form(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])

        async def broken(_events: Any) -> None:
            raise ZeroDivisionError

        served.producer.produce = broken
        assert failure(await deliver(served, "/webhooks/none/hook")) == (500, "internal_error")


async def test_a_source_that_is_gone_has_no_series_any_more(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="none")])
        registry = served.sources.hooks.place.metrics.registry
        assert b'instance="hook"' in generate_latest(registry)
        served.sources.hooks.remove("hook")
        assert b'instance="hook"' not in generate_latest(registry)

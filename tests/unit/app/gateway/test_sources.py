"""What is set up, how it is, and the routes that tell."""

from typing import Any

import orjson
import pytest

from app.gateway.sources import Followed
from app.kafka.follow import TopicIdentity, TopicState
from tests.unit.app.gateway.conftest import KafkaRecord
from topics.sources import State, Status, removed, status_told

HERE = TopicIdentity(cluster_id="c", topic_id="t")


def told(**fields: Any) -> KafkaRecord:
    given = {"state": State.CONNECTED} | fields
    status = Status(id="feed", kind="rss", since_ms=0, updated_at_ms=1000, owner="a", **given)
    record = status_told(status)
    return KafkaRecord(record.key, record.value)


async def test_sources_are_shown_with_what_their_owner_said(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("feed", "rss", spec={"origin": "file a.yaml", "topic": "news"})])
        await served.sources.take_statuses([told(events_received=7, last_event_at_ms=500)])
        (found,) = (await served.client.get("/api/v1/sources")).json()["sources"]
        one = (await served.client.get("/api/v1/sources/feed")).json()
    assert one == {"source": found, "rebuilding": False}
    assert (found["id"], found["kind"], found["state"], found["owner"]) == ("feed", "rss", "connected", "a")
    assert (found["origin"], found["topic"], found["path"]) == ("file a.yaml", "news", None)
    assert (found["events_received"], found["last_event_at"]) == (7, "1970-01-01T00:00:00.500Z")


async def test_a_source_of_which_nobody_has_said_anything_is_unknown(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("feed", "rss")])
        await served.sources.take_statuses([KafkaRecord(b"feed", b"no json"), KafkaRecord(b"other", b"[]")])
        found = (await served.client.get("/api/v1/sources/feed")).json()["source"]
    assert (found["state"], found["events_received"], found["topic"]) == ("unknown", 0, "{{ source.id }}/{{ type }}")


@pytest.mark.parametrize(
    ("state", "shown"), [("connected", "unknown"), ("backing off", "unknown"), ("failed", "failed")]
)
async def test_without_anybody_who_runs_sources_what_was_said_last_is_not_how_they_are(
    serve: Any, set_up: Any, state: str, shown: str
) -> None:
    async with serve() as served:
        served.sources.attended = lambda: False
        await served.sources.take_triggers([set_up("feed", "rss"), set_up("hook", provider="none", offset=1)])
        await served.sources.take_statuses([told(state=State(state), events_received=7)])
        feed, hook = (await served.client.get("/api/v1/sources")).json()["sources"]
    assert (feed["state"], feed["events_received"], hook["state"]) == (shown, 7, "connected")


async def test_a_webhook_is_as_this_gateway_has_it_whatever_others_say(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("feed", provider="none"), set_up("bad", provider="github")])
        await served.sources.take_statuses([told(events_received=7)])
        bad, good = (await served.client.get("/api/v1/sources")).json()["sources"]
    assert (good["state"], good["path"], good["events_received"], good["owner"]) == (
        "connected",
        "/webhooks/none/feed",
        0,
        "here",
    )
    assert (bad["state"], "needs secret" in bad["error"]["message"]) == ("failed", True)


async def test_options_are_not_shown(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("feed", "rss", url="https://canary@host/")])
        assert "canary" not in (await served.client.get("/api/v1/sources")).text


async def test_a_source_that_is_removed_is_gone(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("feed", "rss"), set_up("hook", provider="none", offset=1)])
        for name in ("feed", "hook"):
            await served.sources.take_triggers([KafkaRecord(*removed(name), offset=2)])
        assert (await served.client.get("/api/v1/sources")).json() == {"sources": [], "rebuilding": False}
        answer = await served.client.get("/api/v1/sources/feed")
        assert served.sources.hooks.get("hook") is None
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "source_not_found")


async def test_a_webhook_that_was_removed_meanwhile_is_not_begun(
    serve: Any, set_up: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served:
        await served.sources.take_triggers([set_up("hook", provider="github"), KafkaRecord(*removed("hook"), offset=1)])
        assert served.sources.all() == []
    assert "webhook_failed" not in caplog.text


@pytest.mark.parametrize(
    "value", [b"", b"[]", b"{", orjson.dumps({"id": "a b", "kind": "rss"}), orjson.dumps({"format": 9, "id": "a"})]
)
async def test_what_is_no_source_is_passed_over(
    serve: Any, set_up: Any, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as served:
        await served.sources.take_triggers([KafkaRecord(b"bad", value), set_up("feed", "rss", offset=1)])
        assert [one["id"] for one in served.sources.all()] == ["feed"]
    assert "source_unsuitable" in caplog.text


async def test_it_says_when_some_may_be_missing(serve: Any) -> None:
    async with serve() as served:
        served.sources.known = lambda: False
        assert (await served.client.get("/api/v1/sources")).json() == {"sources": [], "rebuilding": True}


def state(identity: TopicIdentity | None = HERE, **end: int) -> TopicState:
    return TopicState(
        topic="triggers", identity=identity, beginning={}, end={int(p[1:]): count for p, count in end.items()}
    )


async def test_following_goes_on_where_it_was_and_begins_again_with_another_topic() -> None:
    forgotten: list[int] = []
    followed = Followed(lambda: forgotten.append(1))
    assert await followed.attach(state(p0=9, p1=9)) == {}
    followed.took(KafkaRecord(b"a", b"", partition=1, offset=4))
    assert (dict(await followed.attach(state(p0=9, p1=9))), forgotten) == ({1: 5}, [])
    assert (dict(await followed.attach(state(p0=9, p1=2))), forgotten) == ({}, [1])
    followed.took(KafkaRecord(b"a", b"", partition=1, offset=4))
    other = TopicIdentity(cluster_id="c", topic_id="other")
    assert (dict(await followed.attach(state(other, p0=9, p1=9))), forgotten) == ({}, [1, 1])


async def test_what_was_set_up_in_another_topic_is_forgotten(serve: Any, set_up: Any) -> None:
    async with serve() as served:
        await served.sources.triggers.attach(state(p0=9))
        await served.sources.take_triggers([set_up("hook", provider="none")])
        await served.sources.triggers.attach(state(TopicIdentity(cluster_id="c", topic_id="other"), p0=9))
        assert (served.sources.all(), served.sources.hooks.get("hook")) == ([], None)

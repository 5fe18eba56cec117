"""The announced workflows: matching and the routes."""

from typing import Any

import orjson
import pytest

from app.gateway.workflows import REMEMBERED_TOPICS, Workflows
from app.kafka.follow import TopicIdentity, TopicState

HERE = TopicIdentity(cluster_id="c", topic_id="t")


def state(identity: TopicIdentity | None = HERE, end: int = 100) -> TopicState:
    return TopicState(topic="workflows", identity=identity, beginning={}, end={0: end})


def ids(workflows: Workflows, topic: str) -> tuple[str, ...]:
    return workflows.matching(topic).workflows


async def test_literals_and_patterns_match_and_the_answer_is_sorted(announced: Any) -> None:
    workflows = Workflows()
    await workflows.take([announced("z", "orders/created"), announced("a", "orders/*", "users/*"), announced("m", "x")])
    assert ids(workflows, "orders/created") == ("a", "z")
    assert ids(workflows, "orders.created") == ()


async def test_two_triggers_that_meet_one_event_name_the_workflow_once(announced: Any) -> None:
    workflows = Workflows()
    await workflows.take([announced("a", "orders/created", "orders/*", "**")])
    assert ids(workflows, "orders/created") == ("a",)


async def test_a_retired_workflow_matches_no_more(announced: Any, retired: Any) -> None:
    workflows = Workflows()
    await workflows.take([announced("a", "t"), announced("b", "t")])
    assert ids(workflows, "t") == ("a", "b")
    await workflows.take([retired("a", offset=2)])
    assert (ids(workflows, "t"), workflows.get("a")) == (("b",), None)
    await workflows.take([announced("b", "t", offset=3, retired_at="2026-01-31T12:00:00.000Z")])
    assert workflows.all() == []


async def test_a_new_announcement_replaces_the_old_one(announced: Any) -> None:
    workflows = Workflows()
    await workflows.take([announced("a", "old", version="1")])
    assert ids(workflows, "new") == ()
    await workflows.take([announced("a", "new", version="2", offset=1)])
    assert (ids(workflows, "old"), ids(workflows, "new"), (workflows.get("a") or {})["version"]) == ((), ("a",), "2")


@pytest.mark.parametrize(
    "fields",
    [
        {"triggers": None},
        {"triggers": 3},
        {"triggers": ["a**b"]},
        {"triggers": [1]},
        {"schema": orjson.loads(b"[" * 240 + b"]" * 240)},
    ],
)
async def test_what_is_no_announcement_is_passed_over(announced: Any, fields: dict[str, Any]) -> None:
    workflows = Workflows()
    await workflows.take([announced("bad", "t", **fields), announced("good", "t", offset=1)])
    assert ids(workflows, "t") == ("good",)


async def test_what_is_said_of_no_workflow_is_passed_over_without_a_word(
    announced: Any, caplog: pytest.LogCaptureFixture
) -> None:
    workflows = Workflows()
    await workflows.take([announced("a", "t"), announced("worker/w1", "t", offset=1)])
    before = workflows.matching("t")
    await workflows.take([announced("worker/w1", "t", offset=2)])
    assert ([one["id"] for one in workflows.all()], caplog.records) == (["a"], [])
    assert workflows.matching("t") is before  # nothing was forgotten for it
    assert await workflows.attach(state()) == {0: 3}


async def test_the_memory_of_topics_is_bounded(announced: Any) -> None:
    workflows = Workflows()
    await workflows.take([announced("a", "t/*")])
    for n in range(REMEMBERED_TOPICS + 5):
        assert ids(workflows, f"t/{n}") == ("a",)
    assert len(workflows._known) <= REMEMBERED_TOPICS


async def test_attaching_again_goes_on_where_it_was(announced: Any) -> None:
    workflows = Workflows()
    assert await workflows.attach(state()) == {}
    await workflows.take([announced("a", "t", offset=41)])
    assert await workflows.attach(state()) == {0: 42}


@pytest.mark.parametrize("found", [state(TopicIdentity(cluster_id="c", topic_id="other")), state(end=10)])
async def test_another_topic_is_read_from_its_beginning(announced: Any, found: TopicState) -> None:
    workflows = Workflows()
    await workflows.attach(state())
    await workflows.take([announced("a", "t", offset=41)])
    assert await workflows.attach(found) == {}
    assert (workflows.all(), ids(workflows, "t")) == ([], ())


async def test_the_routes_show_announcements(serve: Any, announced: Any) -> None:
    async with serve() as served:
        await served.workflows.take([announced("b", "t", version="1"), announced("a", "t")])
        listed = (await served.client.get("/api/v1/workflows")).json()
        assert [one["id"] for one in listed["workflows"]] == ["a", "b"]
        assert listed["read_model"] == {"behind_records": 0, "behind_seconds": 0.0, "rebuilding": False}
        assert (await served.client.get("/api/v1/workflows/b")).json()["workflow"]["version"] == "1"
        missing = await served.client.get("/api/v1/workflows/c")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "workflow_not_found")

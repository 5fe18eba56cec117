"""`ctx.sources`: what is asked of connectors, and what their answers come to. The connectors are the test."""

import asyncio
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from app.runtime.sources import Sources
from headgate import EventTimeout, StepError, workflow
from headgate.testing import Service, crashes
from topics import keys
from topics.sources import made_of, message_of, sent_topic, state_topic

TICKING = {"schedule": "1h"}


@workflow(trigger_on_event="go")
async def uses(ctx: Any, payload: Any) -> Any:
    made = await ctx.sources.connect("c", "cron", id="clock", options=TICKING, filter={"type": "tick"})
    first = await ctx.sources.wait("w1", "clock", timeout=60)
    second = await ctx.sources.wait("w2", "clock", event_type="tick", timeout=60)
    await ctx.sources.disconnect("d", "clock")
    return [made, first.data, second.data]


@workflow(trigger_on_event="go")
def uses_plainly(ctx: Any, payload: Any) -> Any:
    made = ctx.sources.connect("c", "cron", options=TICKING, timeout=5)
    ctx.sources.disconnect("d", made["id"])
    return made


@workflow(trigger_on_event="go")
async def sends(ctx: Any, payload: Any) -> Any:
    try:
        return await ctx.sources.send("s", "bot", {"text": "hi"}, timeout=20)
    except StepError as error:
        return f"{error.error_type}: {error}"


@workflow(trigger_on_event="go")
async def asks_wrongly(ctx: Any, payload: Any) -> Any:
    call = payload["events"][0]["data"]
    return await getattr(ctx.sources, call["do"])("k", **call["with"])


def state(service: Service, name: str, value: str, **fields: Any) -> None:
    service.send(state_topic(name), {"state": value, **fields}, key=name, event_type=value)


def test_connect_waits_for_the_owners_word_and_waits_follow_each_other() -> None:
    with Service(uses) as service:
        service.send("go", {})
        state(service, "clock", "backing off")
        assert service.results() == []
        state(service, "clock", "connected", connected_at="2026-01-01T00:00:00Z")
        for number in (1, 2, 3):
            service.send("clock/tick", {"n": number}, key="clock", event_type="tick")

        [result] = service.results()
        expected = {
            "id": "clock",
            "kind": "cron",
            "status": "connected",
            "connectedAt": "2026-01-01T00:00:00Z",
            "error": None,
        }
        assert result.result == [expected, {"n": 1}, {"n": 2}]


@workflow(trigger_on_event="go")
async def tells_a_secret(ctx: Any, payload: Any) -> Any:
    options = {"url": "https://a.example/s", "headers": {"Authorization": "Bearer canary-0123456789"}}
    return await ctx.sources.connect("c", "http-stream", options=options)


def test_a_secret_in_clear_sets_up_nothing_and_is_written_nowhere() -> None:
    with Service(tells_a_secret) as service:
        service.send("go", {}, id="1")

        [letter] = service.dead_letters()
        assert "/options/headers/Authorization: a secret stands here in clear" in str(letter)
        written = [service.records(topic) for topic in ("journal", "triggers", "results", "runs", "dlq")]
        assert (written[1], "canary" in str(written)) == ([], False)


def test_events_from_before_the_wait_are_not_missed() -> None:
    with Service(uses) as service:
        service.send("go", {})
        service.send("clock/tick", {"n": 1}, key="clock", event_type="tick")
        service.send("clock/tick", {"n": 2}, key="clock", event_type="tick")
        state(service, "clock", "connected")

        assert service.results()[0].result[1:] == [{"n": 1}, {"n": 2}]


def test_a_crash_at_any_await_asks_for_the_same_source_and_ends_alike() -> None:
    for service in crashes(uses):
        service.send("go", {}, id="1")
        state(service, "clock", "connected")
        for number in (1, 2):
            service.send("clock/tick", {"n": number}, key="clock", event_type="tick", id=f"t{number}")
        service.advance(seconds=1)
        assert [(one.status, one.result[1:]) for one in service.results()] == [("completed", [{"n": 1}, {"n": 2}])]


def test_a_source_that_has_failed_says_why() -> None:
    with Service(uses_plainly) as service:
        service.send("go", {}, id="1")
        name = _derived()
        state(service, name, "failed", error={"message": "no such host"})

        [result] = service.results()
        assert (result.result["status"], result.result["error"]) == ("failed", "no such host")


def test_without_a_word_in_time_it_is_starting() -> None:
    with Service(uses_plainly) as service:
        service.send("go", {}, id="1")
        service.advance(seconds=6)

        [one] = service.results()
        assert one.result["status"] == "starting"
        assert one.result["error"] == (
            f"it has not connected in time: `headgate connectors status {_derived()}` says how it is"
        )


def _derived() -> str:
    run_id = keys.run_id("uses_plainly", keys.event_digest("", None, "1"))
    return f"run-{blake2b(f'{run_id}:c'.encode(), digest_size=12).hexdigest()}"


def test_a_message_comes_back_with_the_reply() -> None:
    with Service(sends) as service:
        service.send("go", {}, id="1")
        message_id = _message_id("1")
        service.send(sent_topic(message_id), {"status": "sent", "reply": {"ts": 5}}, key="bot", event_type="sent")

        assert service.results()[0].result == {"ts": 5}


def test_a_message_that_was_refused_or_never_sent_is_a_step_error() -> None:
    with Service(sends) as service:
        service.send("go", {}, id="1")
        service.send(sent_topic(_message_id("1")), {"status": "failed", "error": "not in channel"}, key="bot")
        service.send("go", {}, id="2")
        service.advance(seconds=31)

        refused, late = (one.result for one in service.results())
        assert refused.startswith("SendFailed: ")
        assert "not in channel" in refused
        assert late.startswith("SendTimeout: ")


def _message_id(event_id: str) -> str:
    return keys.published_event_id(keys.run_id("sends", keys.event_digest("", None, event_id)), "s")


@pytest.mark.parametrize(
    ("do", "given", "words"),
    [
        ("connect", {"kind": "crom"}, "Did you mean 'cron'"),
        ("connect", {"kind": "cron", "id": "a/b"}, "names the source 'a/b'"),
        ("connect", {"kind": "cron", "options": {"schedul": "1h"}}, "/options/schedul"),
        ("connect", {"kind": "cron", "options": {"schedule": "1h"}, "filter": {"x": 1}}, "/filter/x"),
        ("disconnect", {"id": ""}, "names the source ''"),
        ("send", {"id": "bot", "message": "text"}, "give an object"),
        ("wait", {"id": 5}, "names the source 5"),
    ],
)
def test_a_wrong_call_fails_the_run_with_a_word(do: str, given: dict[str, Any], words: str) -> None:
    with Service(asks_wrongly) as service:
        service.send("go", {"do": do, "with": given})
        service.advance(days=1)

        [result] = service.results()
        assert result.status == "failed"
        assert words in str(result.error)


def test_status_is_a_step_whose_result_stays() -> None:
    with Service(asks_wrongly) as service:
        service.send("go", {"do": "status", "with": {}})

        assert service.results()[0].result == {"sources": []}


async def test_what_is_asked_of_connectors_is_what_they_read() -> None:
    records: list[Any] = []

    class Stepping:
        async def run(self, _key: str, fn: Any) -> Any:
            return fn()

        async def wait_for_event(self, *_: Any, **__: Any) -> Any:
            raise EventTimeout("key", "topic", 1)

    class Asking:
        plain = False
        now_ms = 1_000

        class run:  # noqa: N801 as the attempt has it
            id = "w:1"

        class limits:  # noqa: N801 as the attempt has it
            event_bytes = 1024 * 1024

            @staticmethod
            def source_states() -> tuple[()]:
                return ()

        def ask(self, key: str, kind: Any, about: str, make: Any, decode: Any) -> Any:
            records.extend(make(None).records)
            return asyncio.sleep(0)

    sources = Sources(Asking(), Stepping())  # type: ignore[arg-type]
    await sources.connect("c", "cron", id="clock", options=TICKING)
    with pytest.raises(StepError):
        await sources.send("s", "bot", {"text": "hi"}, timeout=9)
    await sources.disconnect("d", "clock")
    connect, send, disconnect = records

    spec = made_of(orjson.loads(connect.value), origin="run w:1")
    assert (connect.topic, spec.id, spec.kind, spec.key) == ("triggers", "clock", "cron", "{{ source.id }}")
    message = message_of(send.value)
    assert (send.topic, message.source, message.body, message.expires_ms) == ("actions", "bot", {"text": "hi"}, 10_000)
    assert (disconnect.topic, disconnect.key, disconnect.value) == ("triggers", b"clock", None)


@pytest.mark.parametrize(("name", "taken"), [("clock", True), ("mine", False), ("new", False)])
def test_a_source_that_a_file_has_set_up_is_neither_taken_nor_ended_by_a_run(name: str, taken: bool) -> None:
    asked: list[str] = []
    there = [{"id": "clock", "origin": "file sources.yaml"}, {"id": "mine", "origin": "run w:1"}]

    class Asking:
        plain = True

        class limits:  # noqa: N801 as the attempt has it
            @staticmethod
            def source_states() -> list[dict[str, str]]:
                return there

        def ask(self, key: str, *_: Any) -> None:
            asked.append(key)

    class Stepping:
        def run(self, _key: str, fn: Any) -> Any:
            return fn()

    sources = Sources(Asking(), Stepping())  # type: ignore[arg-type]
    if taken:
        with pytest.raises(StepError, match=r"was set up by file sources\.yaml"):
            sources.disconnect("d", name)
    else:
        sources.disconnect("d", name)

    assert asked == ([] if taken else ["d"])


class Waiting:
    """An attempt that waits; `topics` is what the sources that are set up have as their option `topic`."""

    plain = True
    now_ms = 1_000

    def __init__(self, **topics: str | None) -> None:
        self.done: list[str] = []
        self.limits = SimpleNamespace(source_topic=topics.get, source_states=list, event_bytes=1024 * 1024)
        self.run = SimpleNamespace(id="w:1")

    def ask(self, key: str, *_: Any) -> None:
        self.done.append(key)


class Steps:
    def __init__(self, attempt: Waiting) -> None:
        self._attempt = attempt

    def run(self, key: str, fn: Any) -> Any:
        self._attempt.done.append(key)
        return fn()

    def wait_for_event(self, key: str, topic: str, *_: Any, **__: Any) -> str:
        self._attempt.done.append(key)
        if key.endswith(":state"):
            raise EventTimeout(key, topic, 1)
        return topic


def waiting(**topics: str | None) -> tuple[Sources, list[str]]:
    attempt = Waiting(**topics)
    return Sources(attempt, Steps(attempt)), attempt.done  # type: ignore[arg-type]


@pytest.mark.parametrize("topic", [None, "bot/{{ data.kind }}", "{{ source.id }}/{{type}}", "{{source.id}}/said"])
def test_events_that_are_where_a_source_has_them_are_waited_for_there(topic: str | None) -> None:
    sources, done = waiting(bot=topic)

    assert (sources.wait("w", "bot"), done) == ("bot/*", ["w:look", "w"])


@pytest.mark.parametrize(
    ("topic", "remedy"),
    [
        ("prices/{{ data.product }}", "the pattern 'prices/**'"),
        ("a/b-{{ type }}/c", "the pattern 'a/**'"),
        ("all-prices", "the topic 'all-prices'"),
        ("{{ data.kind }}/x", "a pattern of it"),
        ("bot/{{ type }}/{{ id }}", "the pattern 'bot/**'"),
        ("bottle/{{ type }}", "the pattern 'bottle/**'"),
        ("bot", "the topic 'bot'"),
    ],
)
def test_events_that_are_elsewhere_are_not_waited_for_in_vain(topic: str, remedy: str) -> None:
    sources, done = waiting(bot=topic)

    with pytest.raises(StepError) as raised:
        sources.wait("w", "bot")
    assert (raised.value.error_type, done) == ("TopicElsewhere", ["w:look"])
    assert raised.value.message == (
        f"source 'bot' puts its events on the topic {topic!r} and not on 'bot/*'; wait for them with "
        f"ctx.step.wait_for_event and {remedy}"
    )


def test_a_source_that_the_run_has_set_up_needs_no_look() -> None:
    sources, done = waiting(bot="of a file that a run could not take")
    sources.connect("c", "cron", id="bot", options=TICKING)
    done.clear()

    assert (sources.wait("w", "bot"), done) == ("bot/*", ["w"])


def test_a_source_that_has_not_connected_in_time_is_as_its_owner_said_last() -> None:
    sources, done = waiting()
    error = {"message": "HTTP 503"}
    ours = {"id": "clock", "origin": "run w:1"}
    there: list[dict[str, Any]] = [
        {"id": "other", "state": "failed"},
        ours | {"state": "backing off", "error": error},
    ]
    cast("Any", sources._attempt.limits).source_states = lambda: there
    told = sources.connect("c", "cron", id="clock", options=TICKING)

    expected = {"id": "clock", "kind": "cron", "status": "backing off", "connectedAt": None, "error": "HTTP 503"}
    assert (expected, ["c:look", "c", "c:state", "c:last"]) == (told, done)
    there[1] = ours | {"state": "unknown"}
    assert sources.connect("d", "cron", id="clock", options=TICKING)["status"] == "starting"

"""app.ui.explanation: what became of an event, from values alone."""

from typing import Any

import orjson
import pytest

from app.ui.explanation import Evidence, conditions, explained
from app.ui.handled import Journaled
from topics import codec, facts, keys
from topics.envelope import Envelope

AT = 1_769_860_800_000  # 2026-01-31T12:00:00Z
HOUR = 3_600_000
ERROR = facts.error_of("ValueError", "no stock")
OTHER = "w:0123456789abcdef01234567"
PAID = "wait_for_event topic='orders/created' event_key=None"


def event(
    *, at_ms: int = AT, partition: int = 0, offset: int = 5, topic: str = "orders/created", **given: Any
) -> Envelope:
    key, value, headers = codec.produce_form(topic, 1, **({"event_id": "e1", "key": "k"} | given))
    return codec.decode(value, key, headers, partition=partition, offset=offset, timestamp_ms=at_ms, max_bytes=None)


EVENT = event()
RUN = keys.run_id("w", keys.digest_of(EVENT))
HOME = keys.partition_of(b"k", 4)
GATHER = keys.partition_of(b"w", 4)


def journals(**at_home: Any) -> dict[int, Journaled]:
    """Partitions that have handled everything; `at_home`: what the one of EVENT's key says besides."""
    known = {"w": 0}
    made: dict[int, dict[str, Any]] = {}
    for p in range(4):
        made[p] = {"partition": p, "events_offset": 99, "known_since_ms": known}
    made[HOME] |= at_home
    return {p: Journaled(**one) for p, one in made.items()}


def workflow(*triggers: Any, **given: Any) -> dict[str, Any]:
    announced = {"triggers": list(triggers), "batch_size": 1, "has_filter": False}
    return announced | {"announced_at": "2026-01-01T00:00:00.000Z"} | given


def evidence(envelope: Envelope = EVENT, **given: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"equal": [envelope], "partitions": 4, "dedup_ms": HOUR, "loaders": {"w": ["w-0"]}}
    base["journals"] = journals()
    return explained(Evidence(event=envelope, **(base | given)))


def read(record: facts.Record) -> Any:
    return orjson.loads(record.value)


def result(run_id: str = RUN, status: str = "completed", error: Any = None, events: Any = (EVENT,)) -> Any:
    value = facts.result_value(
        run_id=run_id,
        workflow_id=run_id.partition(":")[0],
        workflow_version="1",
        status=status,
        result_json=b"1",
        error=error,
        events=events,
        key=None,
        started_at_ms=AT,
        finished_at_ms=AT,
        attempts=1,
    )
    return orjson.loads(value)


def started(run_id: str = OTHER, events: Any = ()) -> Any:
    return read(
        facts.run_started(run_id=run_id, workflow_id="w", workflow_version="1", at_ms=AT, key=None, events=events)
    )


def waiting(
    what: str = PAID, kind: str = "await", until_ms: int | None = None, key: str = "paid?", **given: Any
) -> Any:
    about: dict[str, Any] = {"key": key, "kind": kind, "what": what, "since_ms": AT, "until_ms": until_ms} | given
    return read(facts.step_waiting(run_id=OTHER, workflow_id="w", at_ms=AT, **about))


def refused(envelope: Envelope) -> Any:
    return read(facts.step_refused(run_id=OTHER, workflow_id="w", at_ms=AT, key="paid?", refused=[envelope]))


def finished(at_ms: int, received: Any = (), error: Any = None, kind: str = "await", key: str = "paid?") -> Any:
    return read(
        facts.step_finished(
            run_id=OTHER,
            workflow_id="w",
            at_ms=at_ms,
            key=key,
            kind=kind,
            what=PAID if kind == "await" else kind,
            asked_at_ms=AT,
            started_at_ms=AT,
            finished_at_ms=at_ms,
            attempts=0,
            error=error,
            received=received,
        )
    )


# --- the event ------------------------------------------------------------------------------------------------------


def test_an_event_is_told_with_its_place_and_its_home() -> None:
    assert evidence()["event"] == {
        "id": "e1",
        "source": "",
        "topic": "orders/created",
        "event_type": None,
        "key": "k",
        "partition": 0,
        "offset": 5,
        "appended_at": "2026-01-31T12:00:00.000Z",
        "home": keys.partition_of(b"k", 4),
        "home_by": "its key",
    }
    by_id, by_place = event(key=None), event(key=None, event_id=None, partition=3)
    assert [evidence(one)["event"]["home_by"] for one in (by_id, by_place)] == ["its id", "where it landed"]
    assert evidence(by_place)["event"]["home"] == 3


def test_a_duplicate_names_the_first_of_its_like() -> None:
    first, second, third = (event(at_ms=AT + n, partition=n) for n in range(3))
    found = evidence(second, equal=[first, second, third])
    assert found["duplicate_of"] == {"partition": 0, "offset": 5, "appended_at": "2026-01-31T12:00:00.000Z"}
    assert [one["partition"] for one in found["repeated_by"]] == [2]
    assert evidence(first, equal=[first, second])["duplicate_of"] is None


def test_an_id_that_is_forgotten_makes_no_duplicate() -> None:
    late = event(at_ms=AT + HOUR + 1, offset=6)
    assert evidence(late, equal=[EVENT, late])["duplicate_of"] is None


def test_dead_letters_are_told_with_their_remedy() -> None:
    letter = {"code": "run_failed", "reason": "r", "remedy": "m", "workflow_id": "w", "run_id": RUN, "at": "then"}
    assert evidence(letters=[letter | {"value": "long"}])["dead_letters"] == [letter]


# --- workflows ------------------------------------------------------------------------------------------------------

MATCHING = workflow("orders/*")
KEPT_NO_MORE = (
    f"partition {HOME} has handled the event: what it came to is no longer kept, or another form of the workflow, "
    "which did not take it, was loaded then"
)
REFUSED_MANY = (
    "it waits still: its filter refused 8 events, and of more nothing is told: this one too, or it is on its way"
)


@pytest.mark.parametrize(
    ("record", "given", "became", "run_id", "why"),
    [
        (MATCHING, {"results": [result()]}, "completed", RUN, None),
        (MATCHING, {"results": [result(status="failed", error=ERROR)]}, "failed", RUN, "ValueError: no stock"),
        (MATCHING, {"facts": {RUN: [started(RUN, [EVENT])]}}, "running", RUN, None),
        (MATCHING, {"results": [result(OTHER)]}, "completed", OTHER, "batched into this run"),
        (MATCHING, {"facts": {OTHER: [started(OTHER, [EVENT])]}}, "running", OTHER, "batched into this run"),
        (
            MATCHING,
            {"letters": [{"workflow_id": "w", "code": "wrong_type", "reason": "it is a list"}]},
            "refused",
            None,
            "wrong_type: it is a list",
        ),
        (
            MATCHING,
            {"loaders": {}, "journals": journals(waits_for={"w"})},
            "asleep",
            None,
            "no live worker has loaded it; it runs once one has",
        ),
        (
            MATCHING,
            {"loaders": {}, "journals": journals(known_since_ms={})},
            "asleep",
            None,
            f"no live worker has loaded it, and partition {HOME} has not heard of it",
        ),
        (
            workflow("orders/*", has_filter=True),
            {},
            "filtered",
            None,
            f"its filter refused the event, which partition {HOME} has handled",
        ),
        (
            workflow("orders/*", has_filter=True),
            {"journals": journals(decided={""})},
            "decided",
            None,
            f"a dead letter is on its way; partition {HOME} sends it, or its next owner does",
        ),
        (
            workflow("orders/*", has_filter=True),
            {"journals": journals() | {0: Journaled(partition=0, events_offset=3)}},
            "not handled",
            None,
            "partition 0 is 2 records before it; `headgate doctor` shows the lag",
        ),
        (
            MATCHING,
            {"journals": journals(claimed=False)},
            "not handled",
            None,
            f"no worker has ever taken partition {HOME}; it is handled once one does",
        ),
        (
            workflow("orders/*", batch_size=5, batch_by="workflow"),
            {"journals": journals(sent={GATHER: 1})},
            "not handled",
            None,
            f"partition {HOME} has passed it on, and partition {GATHER} has not handled all of that yet",
        ),
        (
            workflow("orders/*", batch_size=5, batch_by="workflow"),
            {"journals": journals() | {GATHER: Journaled(partition=GATHER, waits_for=frozenset({"w"}))}},
            "gathering",
            None,
            f"it waits for its batch, at partition {GATHER}",
        ),
        (
            MATCHING,
            {"journals": journals(waits_for={"w"}, holders={"w": OTHER})},
            "queued",
            None,
            f"it waits behind {OTHER}, which has its key",
        ),
        (MATCHING, {"journals": journals(waits_for={"w"})}, "queued", None, "its turn is about to come"),
        (
            MATCHING,
            {"journals": journals(runs={RUN})},
            "running",
            None,
            "its run has begun, and nothing was told of it yet",
        ),
        (
            MATCHING,
            {"journals": journals(decided={RUN})},
            "decided",
            None,
            f"its result is on its way; partition {HOME} sends it, or its next owner does",
        ),
        (
            MATCHING,
            {"journals": journals(known_since_ms={"w": AT + 1})},
            "no run",
            None,
            f"partition {HOME} heard of it at 2026-01-31T12:00:00.001Z, after the event",
        ),
        (
            MATCHING,
            {},
            "no run",
            None,
            KEPT_NO_MORE,
        ),
        ({"retired_at": "then"}, {}, "retired", None, "retired at then"),
        ({"retired_at": "then"}, {"results": [result()]}, "completed", RUN, None),
        (workflow("orders/paid"), {}, "no match", None, "'orders/paid': segment 2 is 'created', not 'paid'"),
        (
            workflow("x/y", "orders.created", 7),
            {},
            "no match",
            None,
            "'orders.created' (1 more): the topic splits at '/', 'orders.created' at '.'",
        ),
        (workflow(), {}, "no match", None, "it has no trigger: it starts by its name or its schedule"),
    ],
)
def test_each_workflow_has_its_run_or_the_reason_why_there_is_none(
    record: dict[str, Any], given: dict[str, Any], became: str, run_id: str | None, why: str | None
) -> None:
    assert evidence(announced={"w": record}, **given)["workflows"] == [
        {"workflow": "w", "became": became, "run_id": run_id, "why": why}
    ]


@pytest.mark.parametrize(
    ("key", "given", "why"),
    [
        ("k1", {}, "; it cancels runs of the key 'k1' that began before it (cancel_on)"),
        (
            "k1",
            {"has_cancel_filter": True},
            "; it cancels runs of the key 'k1' that began before it, if its cancel_filter says so (cancel_on)",
        ),
        (None, {}, ""),
    ],
)
def test_an_event_that_starts_nothing_may_cancel(key: str | None, given: dict[str, Any], why: str) -> None:
    record = workflow(cancel_on=["orders/*"], **given)
    (answer,) = evidence(EVENT._replace(key=key), announced={"w": record})["workflows"]
    assert answer["became"] == "no match"
    assert answer["why"] == "it has no trigger: it starts by its name or its schedule" + why


def test_an_event_that_its_home_has_not_taken_yet_is_on_its_way() -> None:
    landed = event(partition=HOME + 1)
    passed_on = journals() | {HOME + 1: Journaled(partition=HOME + 1, events_offset=9, sent={HOME: 1})}
    given: dict[str, Any] = {"journals": passed_on, "facts": {OTHER: [waiting()]}, "starts": {}}
    found = evidence(landed, announced={"w": workflow("orders/*", has_filter=True)}, **given)
    why = f"partition {HOME + 1} has passed it on, and partition {HOME} has not handled all of that yet"
    assert [(one["became"], one["why"]) for one in found["workflows"]] == [("not handled", why)]
    assert [(one["became"], one["why"]) for one in found["waits"]] == [("open", f"it waits still: {why}")]


def test_a_workflow_that_is_started_by_name_needs_no_trigger() -> None:
    called = event(topic="headgate/start/w")
    [found] = evidence(called, announced={"w": workflow()})["workflows"]
    assert found["became"] == "no run"
    [unknown] = evidence(event(topic="headgate/start/x"))["workflows"]
    assert unknown == {"workflow": "x", "became": "unknown", "run_id": None, "why": "no worker has announced it"}


# --- waits ----------------------------------------------------------------------------------------------------------


def waits(*told: Any, envelope: Envelope = EVENT) -> list[tuple[str, str]]:
    found = evidence(envelope, facts={OTHER: list(told)}, starts={OTHER: "2026-01-31T11:00:00.000Z"})["waits"]
    assert {one["run_id"] for one in found} <= {OTHER}
    return [(one["became"], one["why"]) for one in found if one["step"] == "paid?"]


def test_a_wait_that_received_the_event_says_when() -> None:
    assert waits(waiting(), finished(AT + 1000, [EVENT])) == [("received", "at 2026-01-31T12:00:01.000Z")]


@pytest.mark.parametrize(
    ("told", "became", "why"),
    [
        ([waiting()], "open", "it waits still: the event is on its way to it, or to its filter"),
        ([waiting(), refused(EVENT)], "refused", "its filter refused the event"),
        ([waiting(), refused(EVENT), finished(AT + 1000)], "refused", "its filter refused the event"),
        (
            [waiting(), *(refused(event(event_id=f"r{n}", offset=n + 10)) for n in range(8))],
            "open",
            REFUSED_MANY,
        ),
        (
            [waiting(), finished(AT + 1000, [EVENT], key="other")],
            "missed",
            "step 'other' of the same run received it",
        ),
        (
            [waiting(events_since_ms=(AT + 1,))],
            "missed",
            "it takes events from 2026-01-31T12:00:00.001Z on",
        ),
        (
            [waiting("wait_for_event topic='orders/created' event_key='other'")],
            "missed",
            "it waits for key 'other', the event has 'k'",
        ),
        (
            [waiting("wait_for_event topic='orders/created' event_key='k' event_type='paid'")],
            "missed",
            "it waits for type 'paid', the event has None",
        ),
        ([waiting(until_ms=AT - 1)], "missed", "it waited until 2026-01-31T11:59:59.999Z"),
        ([waiting(), finished(AT + 1000, [event(event_id="e0", offset=4)])], "missed", "it received e0 first"),
        (
            [waiting(), finished(AT + 1000, error=facts.error_of("EventTimeout", "late"))],
            "missed",
            "EventTimeout: late at 2026-01-31T12:00:01.000Z",
        ),
        ([started(events=[EVENT]), waiting()], "missed", "it started this run, which never receives it"),
    ],
)
def test_a_wait_that_did_not_receive_the_event_says_why(told: list[Any], became: str, why: str) -> None:
    assert waits(*told) == [(became, why)]


def test_a_wait_on_another_topic_or_at_another_time_is_not_told_of() -> None:
    assert waits(waiting("wait_for_event topic='orders/paid' event_key=None")) == []
    assert waits(waiting(), finished(AT - 1000, [event(event_id="e0", offset=4)])) == []
    assert waits(waiting(), envelope=event(at_ms=AT - 2 * HOUR)) == []


def test_a_suspended_step_is_resumed_by_its_own_topic() -> None:
    resume = event(topic=f"headgate/resume/{OTHER}/paid?")
    told = [waiting("suspend", "suspend"), finished(AT + 1000, kind="suspend")]
    assert waits(*told, envelope=resume) == [("resumed", "it ended at 2026-01-31T12:00:01.000Z")]
    assert waits(*told) == []


def test_what_a_step_waits_for_is_read_from_its_facts() -> None:
    what = """wait_for_any topic='a/*' event_key=None, time, topic="it's" event_key='k, l' event_type='t'"""
    found = [(one.pattern.text, one.event_key, one.event_type) for one in conditions(what)]
    assert found == [("a/*", None, None), ("it's", "k, l", "t")]
    assert [conditions(one) for one in ("sleep", None, "topic='' event_key=None", "topic='\\x' event_key=None")] == [
        [],
        [],
        [],
        [],
    ]

"""topics.told: what facts say together."""

from typing import Any

import orjson
import pytest

from topics import facts
from topics.codec import decode
from topics.told import Listener, steps_of

RUN = "charge:0123456789abcdef01234567"
AT = 1_769_860_800_000  # 2026-01-31T12:00:00Z
EVENT = decode(b'{"topic": "a", "data": 1}', None, [], partition=3, offset=17, timestamp_ms=1, max_bytes=None)
ERROR = facts.error_of("ValueError", "no stock")
HEAD: dict[str, Any] = {"run_id": RUN, "workflow_id": "charge"}
PAID = "wait_for_event topic='orders/paid' event_key=None"


def read(record: facts.Record) -> Any:
    return orjson.loads(record.value)


STARTED = read(facts.run_started(**HEAD, workflow_version="1", at_ms=AT, key=None, events=[EVENT]))
RETRIED = read(facts.run_retried(**HEAD, at_ms=AT, attempt=1, error=ERROR, retry_at_ms=AT + 1000))
STUCK = read(facts.run_stuck(**HEAD, at_ms=AT, attempt=1, error=ERROR))
RESUMED = read(facts.run_resumed(**HEAD, at_ms=AT))
FINISHED = read(facts.run_finished(**HEAD, at_ms=AT, status="failed", attempts=1, key=None, error=ERROR))


def waiting(key: str, until_ms: int | None = None) -> Any:
    return read(facts.step_waiting(**HEAD, at_ms=AT, key=key, kind="await", what=PAID, since_ms=AT, until_ms=until_ms))


def retried(key: str) -> Any:
    about: dict[str, Any] = {"kind": "run", "what": "charge_card", "asked_at_ms": AT}
    return read(facts.step_retried(**HEAD, at_ms=AT, key=key, attempt=1, error=ERROR, retry_at_ms=AT + 1000, **about))


def started(key: str, attempt: int = 1) -> Any:
    about: dict[str, Any] = {"kind": "run", "what": "charge_card", "asked_at_ms": AT, "started_at_ms": AT + 5}
    return read(facts.step_started(**HEAD, at_ms=AT + 1005, key=key, attempt=attempt, **about))


def finished(key: str, kind: str = "run", what: str = "charge_card", error: Any = None, received: Any = ()) -> Any:
    times: dict[str, Any] = {"asked_at_ms": AT, "started_at_ms": AT + 5, "finished_at_ms": AT + 35}
    record = facts.step_finished(
        **HEAD, at_ms=AT, key=key, kind=kind, what=what, attempts=2, error=error, received=received, **times
    )
    return read(record)


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([], "running"),
        ([STARTED], "running"),
        ([STARTED, waiting("w")], "waiting"),
        ([waiting("w"), STARTED], "waiting"),
        ([STARTED, waiting("w"), finished("w")], "running"),
        ([STARTED, waiting("w"), waiting("v"), finished("w")], "waiting"),
        ([STARTED, retried("c")], "retrying"),
        ([STARTED, waiting("w"), retried("c")], "retrying"),
        ([STARTED, waiting("w"), retried("c"), finished("c")], "waiting"),
        ([STARTED, waiting("w"), started("c")], "running"),
        ([STARTED, waiting("w"), started("c"), finished("c")], "waiting"),
        ([STARTED, retried("c"), started("c")], "running"),
        ([STARTED, retried("c"), started("d")], "retrying"),
        ([STARTED, started("c"), RETRIED], "retrying"),
        ([STARTED, started("c"), RETRIED, waiting("w")], "waiting"),
        ([STARTED, started("c"), STUCK, RESUMED], "running"),
        ([STARTED, started("c"), STUCK, RESUMED, waiting("w")], "waiting"),
        ([STARTED, waiting("w"), RETRIED], "retrying"),
        ([STARTED, RETRIED, waiting("w")], "waiting"),
        ([STARTED, waiting("w"), STUCK], "stuck"),
        ([STARTED, waiting("w"), STUCK, finished("w")], "stuck"),
        ([STARTED, waiting("w"), STUCK, RESUMED], "waiting"),
        ([STARTED, waiting("w"), STUCK, finished("w"), RESUMED], "running"),
        ([STARTED, waiting("w"), FINISHED], "failed"),
        ([STARTED, FINISHED, finished("w")], "failed"),
        ([STARTED, {"fact": "step_painted", "step": "w"}, {}], "running"),
    ],
)
def test_a_run_is_doing_what_its_facts_say(told: list[Any], status: str) -> None:
    listener = Listener()
    for fact in told:
        listener.hear(fact)
    assert listener.status == status


def test_a_step_tells_of_the_runs_that_it_started_also_when_they_are_over() -> None:
    children = facts.Children(101, ["ship:0a", "ship:0b"])
    about: dict[str, Any] = {"key": "all", "kind": "invoke", "what": "batch_invoke ship (101)"}
    times: dict[str, Any] = {"asked_at_ms": AT, "started_at_ms": AT, "finished_at_ms": AT, "attempts": 0, "error": None}
    open_ = read(facts.step_waiting(**HEAD, **about, at_ms=AT, since_ms=AT, until_ms=None, children=children))
    over = read(facts.step_finished(**HEAD, **about, **times, at_ms=AT, children=children))
    of_before = {name: value for name, value in over.items() if not name.startswith("children")}

    for told in ([open_], [over], [open_, over], [open_, of_before]):
        [step] = steps_of(told)
        assert (step["children"], step["children_count"]) == (["ship:0a", "ship:0b"], 101)
    [step] = steps_of([of_before])
    assert (step["children"], step["children_count"]) == ([], None)


def test_a_step_that_waits_says_for_what_since_when_and_until_when() -> None:
    [step] = steps_of([STARTED, waiting("paid?", AT + 60_000)])
    assert {name: value for name, value in step.items() if value not in (None, [])} == {
        "step": "paid?",
        "kind": "await",
        "what": PAID,
        "state": "open",
        "asked_at": "2026-01-31T12:00:00.000Z",
        "waits_for": PAID,
        "since": "2026-01-31T12:00:00.000Z",
        "until": "2026-01-31T12:01:00.000Z",
    }


def test_a_step_that_is_over_has_its_times_and_what_it_received() -> None:
    [step] = steps_of([waiting("paid?"), finished("paid?", "await", PAID, received=[EVENT])])
    assert (step["state"], step["queued_ms"], step["took_ms"], step["waits_for"]) == ("done", 5, 30, None)
    assert step["received"] == [{"id": "3-17", "topic": "a", "partition": 3, "offset": 17}]


def test_a_step_is_retrying_until_it_is_done_or_has_failed() -> None:
    [step] = steps_of([retried("call")])
    assert (step["state"], step["kind"], step["what"], step["attempts"]) == ("retrying", "run", "charge_card", 1)
    assert (step["error"], step["retry_at"]) == (ERROR, "2026-01-31T12:00:01.000Z")
    [done] = steps_of([retried("call"), finished("call")])
    assert (done["state"], done["error"], done["retry_at"], done["attempts"]) == ("done", None, None, 2)
    [failed] = steps_of([retried("call"), finished("call", error=ERROR)])
    assert (failed["state"], failed["error"]) == ("failed", ERROR)


def test_a_step_whose_function_takes_its_time_says_since_when_and_in_which_attempt() -> None:
    [step] = steps_of([STARTED, started("call")])
    assert (step["state"], step["kind"], step["what"], step["attempts"]) == ("running", "run", "charge_card", 1)
    assert (step["started_at"], step["queued_ms"], step["took_ms"]) == ("2026-01-31T12:00:00.005Z", 5, None)
    [again] = steps_of([retried("call"), started("call", attempt=2)])
    assert (again["state"], again["attempts"], again["retry_at"], again["error"]) == ("running", 2, None, ERROR)
    [done] = steps_of([started("call"), finished("call")])
    assert (done["state"], done["took_ms"]) == ("done", 30)
    for without_it in (FINISHED, RETRIED, STUCK):
        [left] = steps_of([started("call"), without_it])
        assert left["state"] == "open"


def test_a_step_that_published_names_its_event() -> None:
    [step, other] = steps_of([finished("tell", "note", "publish_event topic='a' event_key=None"), finished("b")])
    assert (step["published"], other["published"]) == (f"{RUN}:tell", None)


def test_nothing_waits_in_a_run_that_is_over() -> None:
    steps = steps_of([waiting("w"), retried("c"), FINISHED])
    assert [(one["state"], one["waits_for"], one["retry_at"]) for one in steps] == [
        ("open", None, None),
        ("retrying", None, None),
    ]


def test_a_retry_of_which_less_was_told_once_leaves_what_is_known() -> None:
    old = {name: value for name, value in retried("call").items() if name not in ("kind", "what", "asked_at")}
    [step] = steps_of([old])
    assert (step["state"], step["kind"], step["what"]) == ("retrying", None, None)


def test_a_fact_of_no_name_tells_of_no_step() -> None:
    assert steps_of([{"fact": {}, "step": "a"}, {"fact": ["step_waiting"], "step": "a"}]) == []


@pytest.mark.parametrize("odd", [7, "x", {"a": 1}, [7], [None], {}])
def test_what_no_worker_wrote_is_told_without_its_events(odd: Any) -> None:
    names = ("step_waiting", "step_started", "step_refused", "step_retried", "step_finished")
    found = [{"fact": one, "step": "s", "events": odd, "what": odd, "asked_at": odd} for one in names]
    (step,) = steps_of(found)

    assert (step["received"], step["refused"], step["took_ms"]) == ([], [], None)

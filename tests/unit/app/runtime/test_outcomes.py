from typing import Any

import orjson
import pytest

from app.engine.values.asks import Fault, Outcome
from app.runtime import outcomes
from headgate import ChildError, EventTimeout, Met, StepError, TooManyWaits
from tests.unit.app.engine.partition import event
from topics import commands
from topics.envelope import Envelope


def failed(kind: str) -> Outcome:
    return Outcome(None, Fault(kind, "no luck"))


def test_a_value_or_the_error_of_the_step() -> None:
    assert outcomes.value_of("a", Outcome(b"1")) == b"1"
    with pytest.raises(StepError, match="step 'a' failed with ValueError: no luck"):
        outcomes.value_of("a", failed("ValueError"))
    with pytest.raises(TooManyWaits, match="no luck"):
        outcomes.value_of("a", failed("TooManyWaits"))


def test_the_end_of_a_wait_is_a_timeout_only_where_it_was_one() -> None:
    assert outcomes.awaited("a", Outcome(b"[1]"), "x", 500) == [1]
    with pytest.raises(EventTimeout, match=r"step 'a' saw no event on 'x' within 0.5 s"):
        outcomes.awaited("a", failed("EventTimeout"), "x", 500)
    with pytest.raises(EventTimeout, match=r"step 'a' was not resumed within 0.5 s"):
        outcomes.awaited("a", failed("EventTimeout"), None, 500)
    with pytest.raises(StepError):
        outcomes.awaited("a", failed("ValueError"), "x", 500)
    with pytest.raises(StepError):
        outcomes.value_of("a", failed("EventTimeout"))


def test_events_come_back_from_what_the_journal_has_of_them() -> None:
    first = event(7, "orders/paid", {"n": 1}, id="e1")
    raw = orjson.loads(orjson.dumps(commands.raw_event(first)))
    received: list[Envelope] = []

    assert outcomes.first_met({"n": 2, "event": raw}, received.append) == Met(2, first.payload())  # type: ignore[arg-type]
    assert outcomes.first_met({"n": 0, "event": None}, received.append) == Met(0, None)
    assert outcomes.all_met([raw, None], received.append) == [first.payload(), None]
    assert outcomes.only_met({"n": 0, "event": raw}, received.append) == [first.payload()]
    assert received == [first] * 3


def test_the_first_child_that_did_not_complete_is_raised_with_the_results_of_the_others() -> None:
    done: dict[str, Any] = {"status": "completed", "result": 5, "error": None}
    assert outcomes.results_of("a", [done, done], ["x", "y"]) == [5, 5]
    wrong = {"status": "rejected", "result": None, "error": {"type": "Reject", "message": "never"}}

    with pytest.raises(ChildError) as caught:
        outcomes.results_of("a", [done, wrong, {"status": "cancelled"}], ["x", "y", "z"])
    error = caught.value
    assert (error.workflow_id, error.status, error.number, error.results) == ("y", "rejected", 1, (5, None, None))
    assert str(error) == (
        "step 'a': the run of workflow 'y' was rejected with Reject: never; catch ChildError to go on without it"
    )

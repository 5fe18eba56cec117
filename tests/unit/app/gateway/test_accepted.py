"""app.gateway.accepted: the runs of which nothing is told yet."""

from app.gateway.accepted import MOST, Accepted
from app.gateway.schemas import RunSummary


def test_of_a_run_that_was_accepted_its_workflow_and_event_are_known() -> None:
    accepted = Accepted()
    accepted.note("w/x:1", "e1")
    summary = accepted.summary("w/x:1")
    assert summary is not None
    assert (summary["workflow_id"], summary["status"], summary["event_id"]) == ("w/x", "accepted", "e1")
    assert summary.keys() - {"event_id"} == RunSummary.model_fields.keys()
    assert accepted.summary("w/x:2") is None


def test_the_newest_are_remembered_and_one_that_is_called_again_is_new() -> None:
    accepted = Accepted(most=2)
    for run_id in ("w:1", "w:2", "w:1", "w:3"):
        accepted.note(run_id, f"event of {run_id}")
    assert [accepted.summary(one) is not None for one in ("w:1", "w:2", "w:3")] == [True, False, True]


def test_so_many_are_remembered_as_the_reference_says() -> None:
    assert MOST == 10_000


def test_what_is_forgotten_is_not_known() -> None:
    accepted = Accepted()
    accepted.note("w:1", "e1")
    accepted.forget("w:1")
    accepted.forget("w:2")
    assert accepted.summary("w:1") is None

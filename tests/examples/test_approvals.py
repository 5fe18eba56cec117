"""examples/approvals: decisions in time, too late, and before anybody waits."""

from datetime import timedelta
from typing import Any

import pytest

from examples.approvals.workflows import expenses
from headgate.testing import Service, crashes

PAID = {"paid": "180.00 to Ada"}


def report(service: Service) -> None:
    service.send("expenses/reported", {"by": "Ada", "what": "a train to Oslo", "amount": 180}, id="1")


def decide(service: Service, **decision: Any) -> None:
    """As the page does, over HTTP."""
    (run,) = service.runs(expenses)
    service.resume(run.run_id, "decision", decision)


def test_an_expense_waits_for_a_week_and_shows_what_is_to_be_decided() -> None:
    with Service(expenses) as service:
        report(service)
        (run,) = service.runs()
        (step,) = run.open_steps
        assert (run.status, step.key, step.until) == ("waiting", "decision", service.now + timedelta(weeks=1))
        assert step.data == {"by": "Ada", "what": "a train to Oslo", "amount": 180}


@pytest.mark.parametrize(
    ("decision", "result"),
    [({"approved": True}, PAID), ({"approved": False, "why": "walk"}, {"refused": "walk"})],
)
def test_a_decision_counts(decision: dict[str, Any], result: Any) -> None:
    with Service(expenses) as service:
        report(service)
        service.advance(days=6)
        service.restart()
        decide(service, **decision)
        assert [one.result for one in service.results()] == [result]


def test_nobody_decides_for_ever() -> None:
    with Service(expenses) as service:
        report(service)
        service.advance(days=7)
        decide(service, approved=True)
        assert [one.result for one in service.results()] == [{"refused": "nobody decided within a week"}]


def test_an_expense_is_paid_wherever_the_worker_dies() -> None:
    for service in crashes(expenses):
        report(service)
        service.advance(hours=1)
        decide(service, approved=True)
        assert [one.result for one in service.results()] == [PAID]

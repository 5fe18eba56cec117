"""examples/approvals: decisions in time, too late, and before anybody waits."""

from typing import Any

import pytest

from examples.approvals.workflows import expenses
from headgate.testing import Service, crashes
from topics.reserved import resume_topic

PAID = {"paid": "180.00 to Ada"}


def report(service: Service) -> None:
    service.send("expenses/reported", {"by": "Ada", "what": "a train to Oslo", "amount": 180}, id="1")


def decide(service: Service, run_id: str, **decision: Any) -> None:
    """As the page does, over HTTP."""
    service.send(resume_topic(run_id, "decision"), decision, id="1-decided")


@pytest.fixture(scope="module")
def run_id() -> str:
    """The run's id: derived from the event's, so it is the same in every test."""
    with Service(expenses) as service:
        report(service)
        service.advance(days=8)
        return service.results()[0].run_id


@pytest.mark.parametrize(
    ("decision", "result"),
    [({"approved": True}, PAID), ({"approved": False, "why": "walk"}, {"refused": "walk"})],
)
def test_a_decision_counts(run_id: str, decision: dict[str, Any], result: Any) -> None:
    with Service(expenses) as service:
        report(service)
        service.advance(days=6)
        service.restart()
        decide(service, run_id, **decision)
        assert [one.result for one in service.results()] == [result]


def test_nobody_decides_for_ever(run_id: str) -> None:
    with Service(expenses) as service:
        report(service)
        service.advance(days=7)
        decide(service, run_id, approved=True)
        assert [one.result for one in service.results()] == [{"refused": "nobody decided within a week"}]


def test_an_expense_is_paid_wherever_the_worker_dies(run_id: str) -> None:
    for service in crashes(expenses):
        report(service)
        service.advance(hours=1)
        decide(service, run_id, approved=True)
        assert [one.result for one in service.results()] == [PAID]

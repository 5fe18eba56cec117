"""examples/orders: every way that an order may take, and a worker that dies anywhere on the longest of them."""

from typing import Any

import pytest

from examples.orders.workflows import process_order
from headgate.testing import Service, crashes


def placed(service: Service, total: float) -> None:
    service.send("orders/placed", {"id": "o-1", "total": total}, key="ada", id="o-1-placed")


def decided(service: Service, *, approved: bool) -> None:
    service.send("orders/o-1/decided", {"approved": approved, "by": "Ann"}, id="o-1-decided")


def result(service: Service) -> Any:
    (found,) = service.results()
    assert found.status == "completed"
    return found.result


def told(service: Service) -> list[tuple[str, Any]]:
    return [(one.topic, one.data) for one in service.events() if one.topic in ("orders/shipped", "orders/refused")]


def test_a_small_order_asks_nobody() -> None:
    with Service(process_order) as service:
        placed(service, 20)
        assert result(service) == {"parcel": "parcel-of-o-1", "paid": 20}
        assert told(service) == [("orders/shipped", {"id": "o-1", "parcel": "parcel-of-o-1"})]


def test_a_large_order_waits_for_its_approval() -> None:
    with Service(process_order) as service:
        placed(service, 2000)
        service.advance(hours=23)
        assert service.results() == []
        decided(service, approved=True)
        assert result(service) == {"parcel": "parcel-of-o-1", "paid": 2000}


def test_a_refusal_is_told() -> None:
    with Service(process_order) as service:
        placed(service, 2000)
        decided(service, approved=False)
        assert result(service) == {"refused": "Ann refused"}
        assert told(service) == [("orders/refused", {"id": "o-1", "why": "Ann refused"})]


def test_an_order_that_nobody_decides_is_refused_after_a_day() -> None:
    with Service(process_order) as service:
        placed(service, 2000)
        service.advance(hours=24)
        assert result(service) == {"refused": "nobody decided within a day"}


@pytest.mark.parametrize("early", [True, False])
def test_a_declined_card_refuses_an_approved_order(early: bool) -> None:
    with Service(process_order) as service:
        placed(service, 100_000)
        if not early:
            service.restart()
        decided(service, approved=True)
        assert result(service) == {"refused": "the card is declined"}


def test_an_order_is_shipped_once_wherever_the_worker_dies() -> None:
    lives = 0
    for service in crashes(process_order):
        lives += 1
        placed(service, 2000)
        service.advance(hours=1)
        decided(service, approved=True)
        assert result(service) == {"parcel": "parcel-of-o-1", "paid": 2000}
        assert {data["parcel"] for _, data in told(service)} == {"parcel-of-o-1"}
        assert len({one.id for one in service.events("orders/shipped")}) == 1
    assert lives > 30

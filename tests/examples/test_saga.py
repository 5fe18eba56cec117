"""examples/saga: all of it, or none; the last one is undone first."""

import pytest

from examples.saga import workflows
from examples.saga.workflows import book_trip
from headgate.testing import Service


def test_a_trip_is_booked_part_by_part() -> None:
    with Service(book_trip) as service:
        service.send("trips/requested", {"id": 1, "to": "Oslo"})
        (result,) = service.results()
        assert result.result == {"booked": ["flight in Oslo", "hotel in Oslo", "car in Oslo"]}


@pytest.mark.parametrize(
    ("sold_out", "undone"),
    [("flight", ["flight"]), ("hotel", ["hotel", "flight"]), ("car", ["car", "hotel", "flight"])],
)
def test_what_was_begun_is_undone_backwards(sold_out: str, undone: list[str]) -> None:
    with Service(book_trip) as service:
        service.send("trips/requested", {"id": 1, "to": "Oslo", "sold_out": sold_out})
        (result,) = service.results()
        assert result.result == {"failed": f"no {sold_out} left in Oslo", "undone": undone}


def test_undoing_is_tried_until_it_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def cancel(part: str, reference: str) -> str:
        tried.append(part)
        if tried.count(part) < 5:
            raise ConnectionError("away")
        return part

    monkeypatch.setattr(workflows, "cancel", cancel)
    with Service(book_trip) as service:
        service.send("trips/requested", {"id": 1, "to": "Oslo", "sold_out": "hotel"})
        service.advance(hours=1)
        (result,) = service.results()
        assert result.result["undone"] == ["hotel", "flight"]
        assert tried == ["hotel"] * 5 + ["flight"] * 5

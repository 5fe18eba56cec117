"""examples/price_feed: candles by time and by number, for each product; alerts once."""

from typing import Any

from examples.price_feed.workflows import candle, price_alert
from headgate.testing import Service, crashes


def tick(service: Service, product: str, price: str, number: int | None = None) -> None:
    """As the source tells it, with what the exchange adds."""
    data = {"type": "ticker", "product_id": product, "price": price, "sequence": 1, "best_bid": "1"}
    event_id = None if number is None else f"c/{number}"
    service.send(f"prices/{product}", data, key=product, id=event_id, event_type="ticker")


def candles(service: Service) -> list[Any]:
    return [one.result for one in service.results(candle)]


def test_a_candle_is_ten_seconds_of_one_product() -> None:
    with Service(candle, price_alert) as service:
        for price in ("100.0", "100.5", "99.8", "100.1"):
            tick(service, "BTC-USD", price)
        tick(service, "ETH-USD", "7.25")
        service.advance(seconds=9)
        service.restart()
        assert candles(service) == []
        service.advance(seconds=1)
        assert sorted(candles(service), key=lambda one: str(one["product"])) == [
            {"product": "BTC-USD", "open": 100.0, "high": 100.5, "low": 99.8, "close": 100.1, "prices": 4},
            {"product": "ETH-USD", "open": 7.25, "high": 7.25, "low": 7.25, "close": 7.25, "prices": 1},
        ]
        assert service.results(price_alert) == []


def test_a_flood_makes_a_candle_of_each_500() -> None:
    with Service(candle) as service:
        for number in range(1001):
            tick(service, "BTC-USD", f"{100_000 + number}")
        assert [(one["open"], one["close"]) for one in candles(service)] == [(100_000, 100_499), (100_500, 100_999)]


def test_what_is_no_price_joins_no_candle() -> None:
    with Service(candle) as service:
        tick(service, "BTC-USD", "1")
        tick(service, "BTC-USD", "unknown")
        service.advance(seconds=10)
        assert [one["prices"] for one in candles(service)] == [1]
        assert [one.code for one in service.dead_letters()] == ["wrong_type"]


def test_a_jump_is_told_once_wherever_the_worker_dies() -> None:
    for service in crashes(candle, price_alert):
        for number, price in enumerate(("100", "101", "100")):
            tick(service, "BTC-USD", price, number)
        service.advance(seconds=11)
        assert [one.result for one in service.results(price_alert)] == ["BTC-USD moved between 100 and 101"]
        assert len({one.id for one in service.events("alerts/BTC-USD")}) == 1

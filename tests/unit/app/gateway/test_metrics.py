"""What the gateway counts."""

from typing import Any

from app.gateway.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


async def test_requests_are_counted_by_template_and_status(serve: Any) -> None:
    async with serve() as served:
        await served.post([{"topic": "a", "data": 1}] * 3)
        await served.post(b"{")
        await served.client.get("/api/v1/runs/one")
        await served.client.get("/api/v1/runs/two")
        await served.client.get("/nowhere")
        metrics = served.gateway.metrics
        name = "headgate_gateway_requests_total"
        assert value(metrics, name, route="/api/v1/events", status="202") == 1
        assert value(metrics, name, route="/api/v1/events", status="400") == 1
        assert value(metrics, name, route="/api/v1/runs/{run_id:path}", status="404") == 2
        assert value(metrics, name, route="other", status="404") == 1
        assert value(metrics, "headgate_gateway_events_produced_total") == 3
        assert value(metrics, "headgate_gateway_request_seconds_count", route="/api/v1/events") == 2


async def test_the_page_shows_the_lag_of_the_read_model_and_what_is_in_flight(serve: Any) -> None:
    async with serve() as served:
        served.read_model.state = {"behind_records": 5, "behind_seconds": 2.5, "rebuilding": True}
        served.producer.pending_bytes = 17
        served.gateway.flight.requests = 3
        page = (await served.client.get("/metrics")).text
        lines = set(page.splitlines())
        assert {
            "headgate_read_model_behind_records 5.0",
            "headgate_read_model_behind_seconds 2.5",
            "headgate_gateway_pending_bytes 17.0",
            "headgate_gateway_requests_in_flight 3.0",
        } <= lines

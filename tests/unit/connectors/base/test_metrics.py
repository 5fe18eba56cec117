"""connectors.base.metrics: what is counted when, and where operators read of it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from app.observe.metrics import WorkerMetrics
from connectors.base.contract import Item, Site
from connectors.base.metrics import SourceMetrics
from tests.unit.connectors.base.framed import Framed, Use, event, for_ever, running, spec
from tests.unit.connectors.standing import until

PAGE: Final = Path(__file__).parents[4] / "docs" / "operate" / "connectors.md"


async def test_an_event_is_received_once_the_broker_has_it_or_a_filter_has_turned_it_away(scripted: Use) -> None:
    async def reads(_site: Site, _: int) -> AsyncIterator[Item]:
        for number in (1, 2, 3):
            yield event(number)
        await for_ever()

    scripted(reads)
    framed = Framed(spec(filter={"data.n": {"lt": 3}}))
    framed.broker.back.clear()

    def counts() -> list[float | None]:
        return [
            framed.metrics.registry.get_sample_value(f"triggers_events_{name}_total", {"provider": "scripted"})
            for name in ("received", "published")
        ]

    async with running(framed):
        await until(lambda: framed.runner.buffered == 3)
        assert counts() == [0, 0]
        framed.broker.back.set()
        await until(lambda: framed.runner.buffered == 0)
        assert counts() == [3, 2]


def test_the_page_for_operators_names_every_metric_of_connectors() -> None:
    registry = SourceMetrics().registry
    names = {f"{one.name}_total" if one.type == "counter" else one.name for one in registry.collect()}
    workers = {"triggers_latency_seconds", "headgate_events_duplicate_total"}
    page = PAGE.read_text(encoding="utf-8")
    assert {*re.findall(r"triggers_[a-z_]+|headgate_events_[a-z_]+", page)} == names | workers
    of_workers = {one.name for one in WorkerMetrics().registry.collect()}
    assert {one.removesuffix("_total") for one in workers} <= of_workers

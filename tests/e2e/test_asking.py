"""Request and response with a service that knows nothing of Headgate, as the page of connectors shows it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.aside import Aside
from tests.e2e.devrun import ROOT, SECONDS, DevRun
from tests.e2e.waiting import until

PRICES: Final = {"tea": 3, "cup": 7, "pot": 20}
ORDERS: Final = 30


def shown() -> dict[str, str]:
    """The blocks of the page's section, by their language."""
    page = (ROOT / "docs/connectors.md").read_text(encoding="utf-8")
    section = page.split("## Request and response over Kafka\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL))


class Pricing:
    """A service with a consumer and a producer: what it is asked it answers under the same key, each request twice."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.asked: list[tuple[bytes | None, Any, dict[str, bytes]]] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Pricing"]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        await admin.create_topics([NewTopic(one, 2, 1) for one in ("pricing.requests", "pricing.answers")])
        await admin.close()
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap, "auto_offset_reset": "earliest"}
        async with (
            AIOKafkaConsumer("pricing.requests", **options) as consumer,
            AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=0) as producer,
        ):
            task = asyncio.create_task(self._serve(consumer, producer))
            try:
                yield self
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _serve(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        async for record in consumer:
            request = json.loads(record.value)
            self.asked.append((record.key, request, dict(record.headers)))
            answer = json.dumps({"price": PRICES[request["article"]]}).encode()
            for _ in range(2):
                await producer.send_and_wait("pricing.answers", answer, key=record.key)


def test_a_run_asks_a_service_over_kafka_and_goes_on_with_its_answer(
    own_kafka: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    kafka, blocks = own_kafka(), shown()
    kafka.start()
    (tmp_path / "flows.py").write_text(blocks["python"])
    (tmp_path / "sources.yaml").write_text(blocks["yaml"].replace("127.0.0.1:9092", kafka.bootstrap))
    (tmp_path / "headgate.toml").write_text(blocks["toml"])
    wanted = [list(PRICES)[n % len(PRICES)] for n in range(ORDERS)]
    with (
        Aside() as aside,
        DevRun(tmp_path, "flows.py", "sources.yaml", kafka=kafka.bootstrap) as dev,
    ):
        pricing = aside.enter(Pricing(kafka.bootstrap).serving())
        dev.ready()
        events = dev.post_all([{"topic": "quotes/wanted", "data": {"article": one}} for one in wanted])

        def ended() -> list[dict[str, Any]] | None:
            runs = [one for one in dev.runs() if one["workflow_id"] == "quote" and one["finished_at"]]
            return runs if len(runs) == ORDERS else None

        runs = until(ended, SECONDS, f"{ORDERS} runs have ended", else_show=dev.log)
        results = [dev.ask("GET", f"/api/v1/runs/{one['run_id']}", None)[1]["run"] for one in runs]
    by_event = {one["events"][0]["id"]: one["result"] for one in results}
    assert [by_event[one] for one in events] == [{"article": one, "price": PRICES[one]} for one in wanted]
    assert {one["status"] for one in results} == {"completed"}
    # At least once each, under a key of each run, with what caused it.
    assert len({key for key, _, _ in pricing.asked}) == ORDERS
    caused = {headers["causation_event"].decode(): request["article"] for _, request, headers in pricing.asked}
    assert caused == dict(zip(events, wanted, strict=True))
    assert {headers["causation_step"] for _, _, headers in pricing.asked} == {b"ask"}
    assert {headers["causation_id"].decode() for _, _, headers in pricing.asked} == {one["run_id"] for one in results}

"""What a client of Kafka asks for by an event comes to it over Kafka: replies, and runs that it calls off."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from app.kafka.admin import Admin, WantedTopic
from app.kafka.embedded import EmbeddedKafka
from tests.e2e.service import Service
from tests.e2e.tally import Reader
from tests.e2e.waiting import until

ASKED: Final = 60
ANSWERS: Final = "answers"
_FLOWS: Final = """
from headgate import workflow


@workflow(id="quote", trigger_on_event="quotes/wanted", order="none")
async def quote(ctx, payload):
    number = payload["events"][0]["data"]["n"]
    price = await ctx.step.run("price", lambda: number * 3)
    await ctx.step.sleep("think", seconds=0.2)
    return {"n": number, "price": await ctx.step.run("tax", lambda: price + 1)}


@workflow(id="held", trigger_on_event="orders/held")
async def held(ctx, payload):
    return await ctx.step.suspend("decision")
"""


@pytest.fixture
def asked(kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path) -> Iterator[tuple[Service, Path]]:
    """A service that may reply, and its workflows."""
    flows = tmp_path / "flows.py"
    flows.write_text(_FLOWS)
    answers = kafka_prefix + ANSWERS
    with Service(kafka, kafka_prefix + "headgate.", tmp_path / "service", replies_allowed_topics=answers) as service:
        wanted = WantedTopic(name=answers, partitions=1, replication_factor=1, config={})
        Admin.connect(service.settings.kafka).create([wanted])
        yield service, flows


def produced(service: Service, key: str, value: Any, *, headers: dict[str, str] | None = None) -> None:
    """Produce to `events`, as any client does; None as `value` for none."""
    producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all"})
    encoded = None if value is None else json.dumps(value).encode()
    producer.produce(service.topic("events"), encoded, key=key, headers=list((headers or {}).items()))
    assert producer.flush(30.0) == 0


def test_every_request_has_its_reply_though_the_worker_is_killed_meanwhile(asked: tuple[Service, Path]) -> None:
    service, flows = asked
    answers = service.prefix.removesuffix("headgate.") + ANSWERS
    worker = service.start("w0", flows=flows).ready()
    for n in range(ASKED):
        headers = {"reply_topic": answers, "correlation_id": f"c{n}"}
        produced(service, f"k{n}", {"topic": "quotes/wanted", "data": {"n": n}}, headers=headers)
    found: dict[str, list[Any]] = defaultdict(list)
    replies = Reader(service, answers, 1, foreign=True)

    def replied(count: int) -> None:
        def enough() -> bool:
            for one in replies.read_on():
                found[dict(one.headers())["correlation_id"].decode()].append((one.key(), json.loads(one.value())))
            return len(found) >= count

        until(enough, 60.0, f"{count} replies", else_show=service.tails)

    for count in (1, ASKED // 3, 2 * ASKED // 3):
        replied(count)
        worker.kill()
        worker = service.start("w0", flows=flows).ready()
    replied(ASKED)
    assert found.keys() == {f"c{n}" for n in range(ASKED)}
    for n in range(ASKED):  # at least once each, and always the same
        for key, result in found[f"c{n}"]:
            assert (key, result["status"], result["result"]) == (
                f"c{n}".encode(),
                "completed",
                {"n": n, "price": 3 * n + 1},
            )
    replies.close()


def test_a_record_without_a_value_calls_a_run_off_once_though_the_worker_is_killed(asked: tuple[Service, Path]) -> None:
    service, flows = asked
    with Reader(service, "runs", service.partitions) as facts, Reader(service, "results", service.partitions) as ends:
        worker = service.start("w0", flows=flows).ready()
        for name in ("off", "on"):
            produced(service, name, {"topic": "orders/held", "id": name, "data": {}})
        waiting: dict[str, str] = {}

        def both() -> bool:
            told = [json.loads(one.value()) for one in facts.read_on()]
            waiting.update({one["events"][0]["id"]: one["run_id"] for one in told if one["fact"] == "run_started"})
            return len(waiting) == 2

        until(both, 30.0, "both runs have started", else_show=service.tails)
        produced(service, waiting["off"], None)
        worker.kill()
        service.start("w0", flows=flows).ready()
        results: list[dict[str, Any]] = []

        def ended(count: int) -> bool:
            results.extend(json.loads(one.value()) for one in ends.read_on())
            return len(results) >= count

        until(lambda: ended(1), 30.0, "it is cancelled", else_show=service.tails)
        produced(service, "x", {"topic": f"headgate/resume/{waiting['on']}/decision", "data": "yes"})
        until(lambda: ended(2), 30.0, "the other one goes on", else_show=service.tails)
    assert [(one["run_id"], one["status"], one["result"]) for one in results] == [
        (waiting["off"], "cancelled", None),
        (waiting["on"], "completed", "yes"),
    ]

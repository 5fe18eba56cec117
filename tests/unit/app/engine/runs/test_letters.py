"""Dead letters hold the original, whole."""

from app.engine.runs.letters import bury
from tests.unit.app.engine.partition import NOW, Partition, dead, event


def test_each_event_gets_its_letter_with_all_that_it_was() -> None:
    partition = Partition(prefix="p.")
    bury(
        partition.state,
        (event(3, key="k", at=NOW - 1_000), event(4, data="€")),
        code="odd",
        reason="it is odd",
        remedy="make it even",
        run_id="w:1",
        workflow_id="w",
    )

    first, second = dead(partition.committed())

    assert first == {
        "code": "odd",
        "reason": "it is odd",
        "remedy": "make it even",
        "source": {"topic": "p.events", "partition": 0, "offset": 3, "timestamp": "2026-01-31T11:59:59.000Z"},
        "key": "k",
        "value": '{"topic":"orders/created","data":null}',
        "headers": [],
        "encoding": {"key": "utf-8", "value": "utf-8", "headers": []},
        "run_id": "w:1",
        "workflow_id": "w",
        "at": "2026-01-31T12:00:00.000Z",
    }
    assert (second["value"], second["source"]["offset"]) == ('{"topic":"orders/created","data":"€"}', 4)

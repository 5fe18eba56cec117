"""The events that load every side."""

import orjson

from benchmarks import events


def test_an_event_is_one_kilobyte_of_json_with_topic_id_key_and_data() -> None:
    key, value = next(events.events("r-", 7, 1))
    event = orjson.loads(value)
    assert len(value) == events.SIZE_BYTES
    assert (event["topic"], event["id"], event["key"]) == (events.TOPIC, "r-00000000000007", key.decode())
    assert events.number(event["id"], "r-") == 7


def test_ids_are_unique_and_the_handler_finds_what_it_multiplies() -> None:
    made = [orjson.loads(value) for _, value in events.events("r-", 0, 500, size_bytes=160)]
    assert len({event["id"] for event in made}) == 500
    assert all(event["data"]["quantity"] * event["data"]["price"] == 5997 for event in made)


def test_a_durable_event_has_its_id_in_the_data_too_and_further_fields() -> None:
    run_id, key, value = next(events.durable_events("bench/wait", "p-", 3, 1, data={"due": 1.5}))
    event = orjson.loads(value)
    assert len(value) == events.SIZE_BYTES
    assert (event["topic"], event["key"], event["data"]["due"]) == ("bench/wait", key.decode(), 1.5)
    assert event["id"] == event["data"]["id"] == run_id == "p-00000000000003"


def test_the_event_that_wakes_a_run_has_its_id_as_key() -> None:
    woken = [run_id for run_id, _, _ in events.durable_events("bench/wait", "p-", 3, 2, data={})]
    keys = [key.decode() for _, key, _ in events.durable_events("bench/wake", "k-", 3, 2, data={}, key_run="p-")]
    assert keys == woken

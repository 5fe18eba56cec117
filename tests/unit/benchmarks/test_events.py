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

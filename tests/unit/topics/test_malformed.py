import re

import orjson

from topics.codec import decode
from topics.malformed import EXAMPLE, REMEDIES, Malformed, named, shown


def test_each_code_is_snake_case_and_has_a_remedy() -> None:
    for code, remedy in REMEDIES.items():
        assert re.fullmatch("[a-z][a-z0-9_]*", code)
        assert len(remedy) > 20


def test_the_example_of_the_remedies_is_a_right_event() -> None:
    event = decode(EXAMPLE.encode(), None, [], partition=0, offset=0, timestamp_ms=0, max_bytes=None)
    assert event.topic == "orders/created"


def test_a_malformed_says_reason_and_remedy() -> None:
    malformed = Malformed("data_missing", "the value has /topic but no /data")
    assert malformed.remedy == REMEDIES["data_missing"]
    assert str(malformed) == f"the value has /topic but no /data; {malformed.remedy}"


def test_values_are_named_by_their_json_type_and_cut_short() -> None:
    assert [named(orjson.loads(text)) for text in ("null", "true", "4.5", '"x"', "[]", "{}")] == [
        *("null", "true", "the number 4.5", "the text 'x'", "a list", "an object")
    ]
    assert len(shown("x" * 1000)) == 60

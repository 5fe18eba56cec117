"""Which run started another one is read from a header, and believed only if it fits the event."""

import orjson
import pytest

from app.engine.runs import parents
from app.engine.runs.parents import Parent
from tests.unit.app.engine.partition import event
from topics import keys
from topics.envelope import Envelope

PARENT = Parent(3, "flow:000000000000000000000001", "go", 2, waits=True, known=False)
ID = keys.child_event_id(PARENT.run, PARENT.key, PARENT.n)


def with_header(raw: bytes | None, event_id: str | None = ID) -> Envelope:
    envelope = event(0, "headgate/start/child", id=event_id)
    return envelope._replace(raw_headers=(("other", b"1"), (parents.HEADER, raw)))


def test_a_parent_comes_back_from_its_header() -> None:
    assert parents.parent_of(with_header(parents.header(PARENT)[1])) == PARENT
    assert parents.parent_of(event(0)) is None


@pytest.mark.parametrize(
    "raw", [None, b"", b"no", b"{}", b"[1]", b'["3","flow:1","go",2,true,true]', b'[3,"flow:1","go",2,true,true]']
)
def test_a_header_of_strangers_means_nothing(raw: bytes | None) -> None:
    assert parents.parent_of(with_header(raw)) is None


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, True), (1, 5), (1, None), (2, 5), (2, ["k"]), (3, -1), (3, True), (3, "0"), (4, 1), (5, 0)],
)
def test_a_header_with_a_field_of_another_type_means_nothing_though_the_id_fits(position: int, value: object) -> None:
    fields: list[object] = [3, "flow:1", "go", 2, True, False]
    fields[position] = value
    event_id = f"{fields[1]}#{fields[3]}:{fields[2]}"
    assert parents.parent_of(with_header(orjson.dumps(fields), event_id)) is None


def test_a_header_whose_names_make_a_long_id_means_nothing_if_they_are_no_text() -> None:
    assert parents.parent_of(with_header(orjson.dumps([0, "x" * 600, 5, 0, True, False]))) is None


def test_a_header_on_an_event_of_another_id_means_nothing() -> None:
    raw = parents.header(PARENT)[1]
    assert parents.parent_of(with_header(raw, "again")) is None
    assert parents.parent_of(with_header(raw, None)) is None

"""Where an event came from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.provenance import Provenance, provenance_of


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], Provenance("", None)),
        ([("provider", b"rss"), ("received_at", b"1700000000000"), ("other", None)], Provenance("rss", 1700000000000)),
        ([("provider", b"rss"), ("received_at", b"yesterday")], Provenance("rss", None)),
        ([("provider", None), ("received_at", b"9" * 400)], Provenance("", None)),
    ],
)
def test_headers_tell_kind_and_time(headers: list[tuple[str, bytes | None]], expected: Provenance) -> None:
    assert expected == provenance_of(headers)


@given(st.lists(st.tuples(st.sampled_from(["provider", "received_at", "x"]), st.none() | st.binary())))
def test_no_header_is_too_odd(headers: list[tuple[str, bytes | None]]) -> None:
    provenance_of(headers)

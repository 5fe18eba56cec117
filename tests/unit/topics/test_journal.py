"""The journal's records: keys that never change, values that come back, and what cannot be read."""

from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import journal


def test_keys_and_format_never_change() -> None:
    assert [journal.FORMAT] == [2]
    assert (journal.CLAIM, journal.HEAD, journal.KNOWN) == (b"claim", b"head", b"known")
    assert journal.FENCE_HEADER == "headgate-fence"
    assert [
        journal.body_key(7),
        journal.run_key("charge:00ff"),
        journal.step_key("charge:00ff", 3),
        journal.pending_key(7, "charge"),
        journal.out_key(0),
        journal.ids_key(12),
        journal.pack_key(3, 4),
    ] == [b"body:7", b"run:charge:00ff", b"step:charge:00ff#3", b"pending:7:charge", b"out:0", b"ids:12", b"pack:3:4"]


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**63), 2**64 - 1),
            st.text(st.characters(exclude_categories=["Cs"])),
        ),
    )
)
def test_a_record_comes_back_as_it_was(value: dict[str, object]) -> None:
    assert journal.decode(b"k", journal.encode(value)) == value


def test_numbers_may_be_keys() -> None:
    assert journal.encode({"generations": {0: 1}}) == b'{"generations":{"0":1}}'


@pytest.mark.parametrize(
    ("value", "why"),
    [(b"", "unexpected end"), (b"{", ""), (b"[]", "not a JSON object"), (b"7", "not a JSON object"), (b"\xff", "")],
)
def test_what_is_no_record_is_refused_in_words(value: bytes, why: str) -> None:
    with pytest.raises(journal.UnreadableJournal) as caught:
        journal.decode(b"run:\xff", value)

    assert caught.value.key == "run:\ufffd"
    assert why in str(caught.value) or value == b""
    assert str(caught.value).startswith("journal record 'run:\ufffd' cannot be read (")
    assert "; this release reads format 2. Where a newer release wrote it, start one" in str(caught.value)


def test_the_word_about_a_record_that_cannot_be_read_names_a_stranger_as_well() -> None:
    word = str(journal.UnreadableJournal("head", "of format 9"))
    assert "where somebody else writes to the journal's topic, let its ACL admit Headgate's workers alone" in word
    page, heading = word.partition("(docs/")[2].removesuffix(")").split(", ")
    assert f"\n## {heading}\n" in (Path(__file__).parents[3] / "docs" / page).read_text(encoding="utf-8")


@given(st.one_of(st.none(), st.binary(), st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)))
def test_bytes_come_back_through_json_as_they_were(value: bytes | None) -> None:
    assert journal.field_bytes(orjson.loads(orjson.dumps(journal.bytes_field(value)))) == value


def test_bytes_are_readable_where_they_can_be() -> None:
    assert [journal.bytes_field(one) for one in (None, b"", b"text", b"\xff")] == [None, "", "text", ["/w=="]]


@pytest.mark.parametrize("one", [b"\x00", b'"', b"\\", b"\n", b"\xff", b"x", "\u00e9".encode()])
@pytest.mark.parametrize("size", [journal.READABLE_BYTES + 2, 1_000_000])
def test_large_bytes_grow_by_a_third_at_most_whatever_they_are(one: bytes, size: int) -> None:
    value = one * (size // len(one))
    once = orjson.dumps(journal.bytes_field(value))
    assert len(once) <= size * 4 // 3 + 8
    assert len(orjson.dumps(journal.bytes_field(once))) <= len(once) * 4 // 3 + 8
    assert journal.field_bytes(orjson.loads(once)) == value


def test_text_that_needs_few_escapes_is_readable_at_any_length() -> None:
    text = '{"topic": "orders/created", "data": 1}' * 10_000
    assert journal.bytes_field(text.encode()) == text
    assert journal.bytes_field(b"\x00" * journal.READABLE_BYTES) == "\x00" * journal.READABLE_BYTES


@pytest.mark.parametrize("one", ["\x00", '"', "\\", "x", "\u00e9"])
def test_large_headers_grow_by_a_third_at_most_in_name_and_content(one: str) -> None:
    text = one * (journal.READABLE_HEADER_BYTES + 1)
    raw = text.encode()
    headers = [(text, raw), ("h", raw), (text, None)]
    once = orjson.dumps(journal.headers_field(headers))
    assert len(once) <= 4 * (len(raw) * 4 // 3 + 8) + 50
    assert journal.field_headers(orjson.loads(once)) == tuple(headers)


def test_headers_are_readable_where_they_can_be() -> None:
    headers = [("\x00" * 512, b"\x00" * 512), ("x" * 9_999, b"y" * 9_999)]
    assert journal.headers_field(headers) == [[name, content.decode()] for name, content in headers]


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.one_of(st.none(), st.binary()))))
def test_headers_come_back_as_they_were(headers: list[tuple[str, bytes | None]]) -> None:
    assert journal.field_headers(orjson.loads(orjson.dumps(journal.headers_field(headers)))) == tuple(headers)


@given(st.lists(st.binary(min_size=12, max_size=12)))
def test_digests_come_back_as_they_were(digests: list[bytes]) -> None:
    assert journal.unpack_digests(journal.pack_digests(digests), 12) == b"".join(digests)


@pytest.mark.parametrize("text", ["?", "AAAA", "/w=="])
def test_what_is_no_whole_number_of_digests_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|padding|digests"):
        journal.unpack_digests(text, 12)

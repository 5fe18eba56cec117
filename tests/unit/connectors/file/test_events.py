"""The event of a file: the same id for the same state, its data, and its content in three forms."""

import pytest

from connectors.base.contract import Received, Unreadable
from connectors.file.changes import Change, Kind
from connectors.file.events import Content, item, shown_path
from connectors.file.folder import Seen

SEEN = Seen(7, 1_780_315_200_123_456_789, 5)
CREATED = Change(kind=Kind.CREATE, path="x/a.json", seen=SEEN, state=b"\1\2\3\4\5")
DELETED = Change(kind=Kind.DELETE, path="x/a.json", seen=None, state=b"\1\2\3\4\5")


def test_the_event_of_a_file_says_what_and_where_it_is() -> None:
    assert item(CREATED, folder="/srv", content=Content.NONE) == Received(
        id="create:x/a.json:7-1780315200123456789-5",
        event_type="create",
        key="x/a.json",
        data={
            "path": "x/a.json",
            "name": "a.json",
            "folder": "/srv",
            "size_bytes": 5,
            "modified": "2026-06-01T12:00:00.123456Z",
        },
    )


@pytest.mark.parametrize("content", Content)
def test_the_event_of_a_file_that_is_gone_has_no_content(content: Content) -> None:
    found = item(DELETED, folder="/srv", content=content)

    assert isinstance(found, Received)
    assert (found.id, found.event_type) == ("delete:x/a.json:0102030405", "delete")
    assert found.data == {
        "path": "x/a.json", "name": "a.json", "folder": "/srv", "size_bytes": None, "modified": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "raw", "becomes"),
    [
        (Content.TEXT, "zwölf\r\n".encode(), "zwölf\r\n"),
        (Content.TEXT, b"", ""),
        (Content.BASE64, b"\0\xff", "AP8="),
        (Content.JSON, b'\xef\xbb\xbf{"n": [1, null]}', {"n": [1, None]}),
    ],
)
def test_content_is_in_the_event_in_the_form_that_was_asked_for(content: Content, raw: bytes, becomes: object) -> None:
    found = item(CREATED, folder="/srv", content=content, raw=raw)

    assert isinstance(found, Received)
    assert (found.data["content"], found.data["content_omitted"]) == (becomes, None)


@pytest.mark.parametrize(("content", "raw"), [(Content.TEXT, b"\xff"), (Content.JSON, b"{"), (Content.JSON, b"")])
def test_content_that_is_not_of_that_form_is_a_dead_letter(content: Content, raw: bytes) -> None:
    found = item(CREATED, folder="/srv", content=content, raw=raw)

    assert isinstance(found, Unreadable)
    assert (found.id, found.raw) == ("create:x/a.json:7-1780315200123456789-5", raw)
    assert found.reason.startswith(f"the file 'x/a.json' is no {content.value}: ")


def test_content_that_is_left_out_is_named() -> None:
    found = item(CREATED, folder="/srv", content=Content.TEXT, omitted="too_large")

    assert isinstance(found, Received)
    assert (found.data["content"], found.data["content_omitted"]) == (None, "too_large")


def test_a_name_that_is_no_text_is_shown_with_its_bytes() -> None:
    assert shown_path("caf\udce9.txt") == "caf\\xe9.txt"


def test_a_time_that_no_calendar_has_is_left_out() -> None:
    far = Change(kind=Kind.UPDATE, path="a", seen=Seen(1, 2**63 * 1000, 1), state=b"")

    found = item(far, folder="/", content=Content.NONE)
    assert isinstance(found, Received)
    assert found.data["modified"] is None

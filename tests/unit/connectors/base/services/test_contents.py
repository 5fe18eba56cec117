"""What is in an object: part of its event if asked for, left out with the reason otherwise."""

from typing import Any

import pytest

from connectors.base.services.contents import ContentOptions, Omitted, content_of


@pytest.mark.parametrize(
    ("options", "size", "body", "expected"),
    [
        ({}, 3, b"abc", {}),
        ({"content": "text"}, 3, b"abc", {"content": "abc", "content_omitted": None}),
        ({"content": "json"}, None, b"[1]", {"content": [1], "content_omitted": None}),
        ({"content": "auto"}, 3, b"\xff", {"content": "/w==", "content_omitted": None}),
        ({"content": "base64", "max_content_bytes": 3}, 3, b"abc", {"content": "YWJj", "content_omitted": None}),
        ({"content": "text"}, 1, b"\xff", {"content": None, "content_omitted": "unreadable"}),
    ],
)
async def test_content_is_read_as_the_options_say(
    options: dict[str, Any], size: int | None, body: bytes, expected: dict[str, Any]
) -> None:
    async def fetch(most: int) -> bytes:
        return body[:most]

    assert await content_of(ContentOptions.model_validate(options), size, fetch) == expected


async def test_nothing_is_fetched_that_is_known_to_be_too_large_or_not_wanted() -> None:
    async def fetch(most: int) -> bytes:
        raise AssertionError

    options = ContentOptions.model_validate({"content": "text", "max_content_bytes": 3})
    expected = {"content": None, "content_omitted": "too_large"}
    assert await content_of(options, 4, fetch) == expected
    assert await content_of(ContentOptions(), 1, fetch) == {}


async def test_no_more_is_fetched_than_shows_that_it_is_too_large() -> None:
    asked = []

    async def fetch(most: int) -> bytes:
        asked.append(most)
        return b"abcdefgh"[:most]

    options = ContentOptions.model_validate({"content": "text", "max_content_bytes": 3})
    assert (await content_of(options, None, fetch))["content_omitted"] == "too_large"
    assert asked == [4]


async def test_what_is_gone_is_told() -> None:
    async def fetch(most: int) -> bytes:
        raise Omitted("changed")

    options = ContentOptions.model_validate({"content": "text"})
    assert await content_of(options, 1, fetch) == {"content": None, "content_omitted": "changed"}

"""Where a feed has moved to, without what the configured address keeps secret."""

import json

import pytest

from connectors.rss import address

TOKEN = "s3cr3tTOKEN0123456789"


@pytest.mark.parametrize(
    ("configured", "moved"),
    [
        ("http://a.example/feed", "https://a.example/feed"),
        (f"http://a.example/{TOKEN}/feed", f"https://feeds.b.example/v2/{TOKEN}.xml"),
        (f"http://a.example/feed?key={TOKEN}&n=1", f"https://a.example/feed/?n=1&key={TOKEN}"),
        (f"http://a.example/feed?key={TOKEN}", f"https://a.example/{TOKEN}/{TOKEN}"),
        (f"https://u:{TOKEN}@a.example/feed", "https://a.example/atom"),
    ],
)
def test_a_new_address_is_stored_without_anything_of_the_configured_one(configured: str, moved: str) -> None:
    stored = address.stored(moved, configured)

    assert stored is not None
    text = json.dumps(stored)
    assert address.read(json.loads(text), configured) == moved
    assert not any(TOKEN[at : at + 4] in text for at in range(len(TOKEN) - 3))


@pytest.mark.parametrize(
    ("configured", "moved"),
    [
        ("http://a.example/feed", "https://a.example/feed?signature=0123456789abcdef"),
        ("http://a.example/feed", "https://me:pw@a.example/feed"),
        ("http://a.example/feed", "https://a.example/" + "x" * 5000),
    ],
)
def test_an_address_with_secrets_of_its_own_is_not_stored(configured: str, moved: str) -> None:
    assert address.stored(moved, configured) is None


@pytest.mark.parametrize(
    "value",
    [None, {}, "https://a.example/", [], [1], [[0, 999]], [[-1, 4]], [[0, 0]], ["ftp://a.example/"], [["h", 1]]],
)
def test_what_is_no_stored_address_is_none(value: object) -> None:
    assert address.read(value, "http://a.example/feed") is None


def test_an_edited_address_has_another_tag_and_a_changed_password_has_not() -> None:
    tags = {address.tag(f"http://{user}a.example/feed") for user in ("", "me:old@", "me:new@")}

    assert len(tags) == 1
    assert address.tag("http://a.example/feed?x=1") not in tags


def test_user_and_password_go_to_the_same_origin_only() -> None:
    configured = "https://me:pw@a.example/feed"

    assert address.with_user("https://a.example/atom", configured) == "https://me:pw@a.example/atom"
    for other in ("http://a.example/atom", "https://b.example/atom", "https://a.example:444/atom"):
        assert address.with_user(other, configured) == other
    assert address.with_user("https://a.example/atom", "https://a.example/feed") == "https://a.example/atom"


def test_a_server_is_the_same_by_scheme_host_and_port() -> None:
    configured = "https://me:pw@a.example/feed"

    assert address.same_origin("https://A.example/atom?x=1", configured)
    for other in ("http://a.example/feed", "https://b.example/feed", "https://a.example:444/feed"):
        assert not address.same_origin(other, configured)

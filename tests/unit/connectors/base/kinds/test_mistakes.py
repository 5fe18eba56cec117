"""What is wrong with options, in words."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.backoff import Reconnect
from connectors.base.kinds import mistakes, registry

KINDS = "`headgate connectors kinds rss` describes the options"


def told(kind: str, options: dict[str, Any], *, unknown: str = "") -> str:
    """`unknown` is an option whose value is not known yet."""
    known = registry.load(kind)
    with pytest.raises(ValidationError) as raised:
        known.config.model_validate(options)
    return mistakes.in_options(raised.value, known, counts=lambda place: unknown not in place)


def test_a_misspelt_name_is_told_before_what_is_missing_for_it() -> None:
    assert f"/options/urll: there is no such field; did you mean 'url'? (and 1 more); {KINDS}" == told(
        "rss", {"urll": "https://example.com"}
    )


def test_a_name_that_is_like_none_is_told_with_those_there_are() -> None:
    names = "url, headers, interval, immediate, maxItems, emit_existing"
    assert f"/options/x: there is no such field; there are {names}; {KINDS}" == told(
        "rss", {"url": "https://example.com", "x": 1}
    )


def test_nested_names_are_told_with_those_at_their_place() -> None:
    words = told("websocket", {"url": "wss://example.com", "subscribe": [{"message": "hi", "answr": {}}]})

    assert words.startswith("/options/subscribe/0/answr: there is no such field; did you mean 'answer'?")


def test_facts_are_told_without_the_words_of_a_library() -> None:
    assert f"/options/url: it is missing; {KINDS}" == told("rss", {})
    assert told("rss", {"url": "ftp://x"}).startswith("/options/url: a URL here begins with http:// or https://")
    assert told("rss", {"url": "https://x", "interval": "soon"}).startswith("/options/interval: a duration is")


def test_a_value_that_is_not_known_yet_is_no_mistake_and_a_wrong_name_is() -> None:
    assert told("rss", {"url": 5}, unknown="url") == ""
    assert "did you mean 'app_token'" in told("slack", {"app_tokn": "{{ env.X }}"}, unknown="app_tokn")


def test_fields_of_other_models_are_told_in_the_same_way() -> None:
    with pytest.raises(ValidationError) as raised:
        Reconnect.model_validate({"max_second": 5})

    assert mistakes.in_fields(raised.value, "/reconnect", Reconnect) == (
        "/reconnect/max_second: there is no such field; did you mean 'max_seconds'?"
    )

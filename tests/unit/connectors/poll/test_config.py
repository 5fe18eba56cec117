"""The options of a poll: what fits together, and what does not."""

from typing import Any

import pytest
from pydantic import ValidationError

from connectors.poll.config import EXAMPLE, Config

URL = "https://api.example/x"


def test_the_example_is_valid_and_its_secrets_are_stars() -> None:
    config = Config.model_validate(EXAMPLE)

    assert "ORDERS_TOKEN" not in str(config.shown())
    assert 60.0 == config.interval


def test_only_a_url_is_needed() -> None:
    config = Config.model_validate({"rest": {"url": URL}})

    assert config.rest is not None
    assert ("content", "none", "emit") == (config.rest.cursor.by, config.rest.paging.by, config.existing)


BY_ID = {"by": "id", "field": "n", "parameter": "since"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "either rest or sql"),
        ({"rest": {"url": URL}, "sql": {"database": "sqlite:///x", "table": "t", "column": "c"}}, "either rest or sql"),
        ({"rest": {"url": "ftp://x"}}, "a URL here begins with http"),
        ({"rest": {"url": URL, "cursor": {"by": "magic"}}}, "magic"),
        ({"rest": {"url": URL, "cursor": {"by": "timestamp"}}}, "field"),
        (
            {
                "rest": {
                    "url": URL,
                    "cursor": {"by": "token", "field": "next", "parameter": "after"},
                    "paging": {"by": "link"},
                }
            },
            "leave paging out",
        ),
        ({"rest": {"url": URL, "paging": {"by": "cursor"}}}, "needs a cursor"),
        ({"rest": {"url": URL, "cursor": {"by": "id"}, "paging": {"by": "cursor"}}}, "with a parameter"),
        ({"rest": {"url": URL, "cursor": BY_ID, "paging": {"by": "cursor"}, "newest_first": True}}, "oldest first"),
        ({"rest": {"url": URL, "newest_first": True}}, "newest_first needs"),
        ({"rest": {"url": URL, "body": {}}}, "POST"),
        ({"rest": {"url": URL, "version": "v"}}, "version needs id"),
        ({"rest": {"url": URL, "rate": {"requests": 0}}}, "greater"),
        ({"rest": {"url": URL, "items": "a..b"}}, "pattern"),
        ({"rest": {"url": URL}, "interval": "0s"}, "greater"),
        ({"rest": {"url": URL}, "max_pages": 0}, "greater"),
        ({"rest": {"url": URL}, "existing": "ask"}, "emit"),
        ({"rest": {"url": URL}, "colour": "red"}, "Extra"),
        ({"sql": {"database": "sqlite:x", "table": "t", "column": "c"}}, "absolute"),
        ({"sql": {"database": "sqlite:///x", "table": "a.b.c", "column": "c"}}, "pattern"),
        ({"sql": {"database": "sqlite:///x", "table": "t", "column": ""}}, "pattern"),
        ({"sql": {"database": "sqlite:///x", "table": "t", "column": "c", "overlap": -1}}, "greater"),
    ],
)
def test_what_does_not_fit_is_an_error_with_the_reason(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(options)

    assert words in str(caught.value)


def test_no_error_shows_a_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({"sql": {"database": "mysql://me:s3cret@db/x", "table": "t", "column": "c"}})

    assert "s3cret" not in str(caught.value)

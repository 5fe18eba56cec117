"""Texts with places for fields of an event."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.texts.templates import MOST_CHARS, Template, TemplateError

SCOPE = {
    "id": "7",
    "type": "created",
    "key": None,
    "data": {
        "user": {"id": 42, "vip": True},
        "tags": ["a", "b"],
        "huge": "x" * 2000,
        "number": 10**5_000,
        "price": 1.5,
    },
    "source": {"id": "feed", "kind": "rss"},
}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        ("{{ type }}", "created"),
        ("users/{{data.user.id}}/{{ data.tags.1 }}", "users/42/b"),
        ("{{ source.id }}-{{ data.user.vip }}-{{ data.price }}", "feed-true-1.5"),
    ],
)
def test_fields_take_their_places(text: str, made: str) -> None:
    assert made == Template.parse(text).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ data.none }}", "data.none of the event is missing"),
        ("{{ data.tags.9 }}", "is missing"),
        ("{{ data.user }}", "is dict"),
        ("{{ key }}", "is NoneType"),
        ("{{ data.huge }}", "2000 characters"),
        ("{{ data.number }}", "too long a number"),
    ],
)
def test_what_an_event_lacks_is_named(text: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        Template.parse(text).render(SCOPE)


@pytest.mark.parametrize(
    "text", ["{{ env.SECRET }}", "{{ data.__class__() }}", "{{ 1 + 1 }}", "{{ data", "}} x", "{{}}"]
)
def test_nothing_but_fields_of_events_is_a_template(text: str) -> None:
    with pytest.raises(TemplateError):
        Template.parse(text)


@pytest.mark.parametrize("text", ["{{" + " " * 300_000, "{{" * 150_000, ("{{" + " " * 290) * 1_000, "{{ a" * 75_000])
def test_no_template_takes_longer_than_its_length(text: str) -> None:
    with pytest.raises(TemplateError) as caught:  # not in hours
        Template.parse(text)

    assert len(str(caught.value)) < 1_000


@given(st.text(max_size=60), st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_text_and_no_data_do_anything_else(text: str, data: Any) -> None:
    try:
        made = Template.parse(text).render({"data": data, "id": "1"})
    except TemplateError:
        return
    assert len(made) <= max(MOST_CHARS, len(text))

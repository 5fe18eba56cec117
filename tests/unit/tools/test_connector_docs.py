"""The reference of sources, made from their kinds."""

import pytest

from connectors.base.kinds import describing, registry
from connectors.base.texts import filters
from tools import connector_docs
from topics.sources import FIELDS

KINDS = pytest.mark.parametrize("kind", sorted(registry.ours()))


def section_of(kind: str) -> str:
    """What the page says of a kind."""
    return connector_docs.page().partition(f"\n## {kind}\n")[2].partition("\n## ")[0]


@KINDS
def test_each_kind_has_a_row_and_a_section_with_its_options_and_its_example(kind: str) -> None:
    page, section, found = connector_docs.page(), section_of(kind), registry.load(kind)
    assert f"| [`{kind}`](#{kind}) | " in page
    assert [o.name for o in describing.options_of(found.config) if f"\n| `{o.name}` | " not in section] == []
    assert f"```yaml\n{describing.example_of(found)}```" in section


@KINDS
def test_a_kind_says_what_can_be_sent_through_it_exactly_when_it_sends(kind: str) -> None:
    found = registry.load(kind)
    assert hasattr(getattr(found.module, "Source", None), "send") == (describing.sent_through(found) is not None)
    assert ("\nSent through it" in section_of(kind)) == (describing.sent_through(found) is not None)


@KINDS
def test_nothing_of_the_code_of_a_kind_is_in_its_section(kind: str) -> None:
    assert "Modules:" not in section_of(kind)
    assert registry.load(kind).meaning.endswith(".")


@KINDS
def test_what_its_events_are_is_told(kind: str) -> None:
    assert f"\n\nEvents: {describing.emitted(registry.load(kind))}\n\n" in section_of(kind)


def test_all_that_a_source_has_is_told() -> None:
    assert set(connector_docs.FIELDS) == FIELDS
    assert list(connector_docs.OPERATORS) == list(filters.OPERATORS)


def test_how_a_source_delivers_is_told_in_its_own_words_where_it_has_some() -> None:
    assert "\nDelivery: Exactly once: an instant has one id, and " in section_of("cron")
    assert "\nDelivery: at-least-once.\n" in section_of("sqs")


def test_only_kinds_that_come_with_headgate_are_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: (*registry.ours(), "weather"))
    assert "weather" not in connector_docs.page()

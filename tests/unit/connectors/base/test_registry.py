"""Kinds of sources are files and entry points."""

from importlib.metadata import EntryPoint

import pytest

from connectors.base import registry
from connectors.base.registry import UnknownKind
from tests.unit.connectors.base import weather


def test_each_file_is_a_kind_with_dashes_for_underscores() -> None:
    found = registry.ours()

    assert found["cron"] == "connectors.cron"
    assert found["http-stream"] == "connectors.http_stream"
    assert not {"base", "--init--", "py"} & set(found)


def test_a_kind_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UnknownKind, match=r"Did you mean 'cron'\? Installed are: "):
        registry.load("crom")


def test_a_third_party_adds_a_kind_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint(name="weather", value=f"{weather.__name__}:Weather", group=registry.ENTRY_POINTS)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    registry.load.cache_clear()
    registry.names.cache_clear()
    try:
        kind = registry.load("weather")
        assert ("weather", "Weather of a town.", "exactly-once") == (kind.name, kind.meaning, kind.delivery.value)
        assert "weather" in registry.names()
    finally:
        registry.load.cache_clear()
        registry.names.cache_clear()

"""Kinds of sources are files and entry points."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from connectors.base.kinds import registry
from connectors.base.kinds.registry import UnknownKind
from tests.unit.connectors.base import weather


def test_each_file_is_a_kind_with_dashes_for_underscores() -> None:
    found = registry.ours()

    assert found["cron"] == "connectors.cron"
    assert found["http-stream"] == "connectors.http_stream"
    assert not {"base", "--init--", "py"} & set(found)


def test_a_kind_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UnknownKind, match=r"Did you mean 'cron'\? Installed are: "):
        registry.load("crom")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Installs one kind of a third party."""

    def add(name: str, value: str) -> None:
        entry = EntryPoint(name=name, value=value, group=registry.ENTRY_POINTS)
        monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
        registry.forget()

    yield add
    monkeypatch.undo()
    registry.forget()


def test_a_third_party_adds_a_kind_by_an_entry_point(install: Callable[[str, str], None]) -> None:
    install("weather", f"{weather.__name__}:Weather")
    kind = registry.load("weather")

    assert ("weather", "Weather of a town.", "exactly-once") == (kind.name, kind.meaning, kind.delivery.value)
    assert "weather" in registry.names()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no.such.module:Provider", "ModuleNotFoundError"),
        (f"{weather.__name__}:NoSuch", "AttributeError"),
        (f"{weather.__name__}:asyncio", "AttributeError"),
    ],
)
def test_a_kind_that_cannot_be_loaded_says_why_and_ends_nothing(
    install: Callable[[str, str], None], value: str, words: str
) -> None:
    install("broken", value)

    for _ in range(2):
        with pytest.raises(UnknownKind, match=f"'broken' cannot be loaded from {value}: {words}"):
            registry.load("broken")
    assert "broken" in registry.names()
    assert registry.load("cron").name == "cron"


def test_a_kind_of_ours_whose_library_is_not_installed_says_so(
    install: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("weather", f"{weather.__name__}:Weather")
    monkeypatch.setitem(sys.modules, "connectors.cron", None)

    with pytest.raises(UnknownKind, match=r"'cron' cannot be loaded from connectors\.cron"):
        registry.load("cron")

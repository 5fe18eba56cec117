"""What the engine tells the partitions of waits, in the place of what they are told."""

from typing import Any

import pytest

from app.engine.waits import wanted


class Registered:
    """What the engine tells the partitions of waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: dict[tuple[str, int], tuple[int, int | None, list[str]]] = {}
        monkeypatch.setattr(wanted, "register", self._register)
        monkeypatch.setattr(wanted, "withdraw", self._withdraw)

    def _register(self, _state: Any, _run: Any, key: str, n: int, _one: Any, since: int, until: Any, seen: Any) -> None:
        self.waits[key, n] = (since, until, list(seen))

    def _withdraw(self, _state: Any, _run: Any, key: str, n: int, _topic: str) -> None:
        del self.waits[key, n]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registered:
    return Registered(monkeypatch)

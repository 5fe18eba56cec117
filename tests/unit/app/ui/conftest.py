"""Read models with a clock that stands still."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.ui.bounds import Bounds
from app.ui.readmodel import ReadModel
from tests.unit.app.ui.records import NOW, Open


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    @asynccontextmanager
    async def opened(
        path: Path | None = None, *, gather_seconds: float = 0.0, **bounds: Any
    ) -> AsyncIterator[ReadModel]:
        model = ReadModel(
            path or tmp_path / "readmodel.sqlite",
            bounds=Bounds(**bounds),
            now=lambda: NOW,
            gather_seconds=gather_seconds,
        )
        try:
            yield model
        finally:
            await model.close()

    return opened

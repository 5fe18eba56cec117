"""The file of the read model: broken, in use, temporary, and how large it becomes."""

import sqlite3
from pathlib import Path

import pytest

from app.ui import file, schema
from app.ui.file import ReadModelInUse
from app.ui.readmodel import ReadModel, Source
from tests.unit.app.ui.records import Open, listed, result, take


@pytest.mark.parametrize("broken", [b"no database", b"", None])
async def test_a_file_that_cannot_be_read_is_made_anew(opened: Open, tmp_path: Path, broken: bytes | None) -> None:
    path = tmp_path / "readmodel.sqlite"
    if broken is None:
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        db.close()
    else:
        path.write_bytes(broken)
    async with opened() as model:
        await take(model, Source.RESULTS, result("w:1"))
        assert await listed(model) == ["w:1"]


async def test_two_processes_cannot_have_one_file(opened: Open, tmp_path: Path) -> None:
    async with opened():
        with pytest.raises(ReadModelInUse, match=r"gateway\.read_model"):
            ReadModel(tmp_path / "readmodel.sqlite")
    async with opened() as model:
        assert await listed(model) == []


async def test_a_temporary_file_is_gone_after_closing() -> None:
    model = ReadModel(None)
    assert model.path.exists()
    await model.close()
    assert not model.path.parent.exists()


async def test_the_file_stays_within_twice_its_bound_while_large_records_come(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOG_BYTES", 1_000_000)
    async with opened(size_bytes=4_000_000) as model:
        for n in range(100):
            await take(model, Source.RESULTS, result(f"w:{n:03}", finished=n, offset=n, result="x" * 400_000))
            sizes = [path.stat().st_size for path in model.path.parent.iterdir()]
            assert sum(sizes) < 2 * 4_000_000 + 5_000_000  # what SQLite's log may hold before it begins anew
        assert "w:099" in await listed(model)

"""What `headgate dev` tells its roles. It runs in tests/e2e/test_dev.py."""

import asyncio
from pathlib import Path

from app.settings import Settings
from app.wiring import dev


def instance_ids(data: Path, *, workers: int = 1) -> list[str]:
    settings = Settings.load({"gateway.port": 0, "worker.instance_id": "host"}, dev=True, environ={})
    plan = dev.Plan(
        paths=["flows.py"],
        sources=[],
        workers=workers,
        data=data,
        embedded=False,
        kafka_port=None,
        launcher=[],
        config=None,
    )
    made = dev._Dev(settings, plan, asyncio.Event(), lambda *_: None)
    given = [role._environment.get("HEADGATE_WORKER_INSTANCE_ID") for role in made._make_roles()]
    return [name for name in given[:workers] if name is not None]


async def test_sessions_with_other_folders_have_other_instance_ids_and_keep_them(tmp_path: Path) -> None:
    [first] = instance_ids(tmp_path / "a")
    [second] = instance_ids(tmp_path / "b")
    assert first != second
    assert instance_ids(tmp_path / "b" / ".." / "a") == [first]
    assert (first[:9], first[-2:], len(first)) == ("host-dev-", "-1", 17)
    assert len(set(instance_ids(tmp_path / "a", workers=3))) == 3

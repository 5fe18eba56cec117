"""What a worker does now and then beside its pumps. How its parts work together: tests/e2e/test_members.py."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.engine.tables.state import empty
from app.engine.tables.texts import key_of
from app.engine.values.limits import Limits
from app.runtime import limits
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from app.settings import Settings
from app.wiring.worker import _Worker


async def test_what_rests_in_all_partitions_leaves_functions_that_wait_the_less_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BESIDE_BYTES", 0)
    monkeypatch.setattr(limits, "FUNCTION_BYTES", 140)
    file = tmp_path / "flows.py"
    file.write_text("from headgate import workflow\n\n@workflow(trigger_on_event='a/b')\nasync def a(ctx): ...\n")
    worker = _Worker(Settings.load({}, dev=True), [str(file)], reload=False)
    states = [empty(number, Limits(partitions=2), journal_id="j") for number in range(2)]
    pumps = [SimpleNamespace(state=state, partition=state.partition) for state in states]
    worker._standby = None
    worker._partitions = cast(Any, SimpleNamespace(pumps=lambda: pumps))
    worker._driver = Driver(limits=StepLimits(partitions=2), threads=1)

    worker._set_gauges()
    assert worker._driver._live._most == 10_000
    for state in states:
        for number in range(300):
            state.runs._packed.put(key_of(f"run:{number}"), b"")
    worker._set_gauges()
    assert worker._driver._live._most == 10_000 - 600
    worker._driver.close()

import asyncio
import json
import logging
import sys
import threading
from typing import Any

import pytest

from app.engine.starts import filters
from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from app.runtime.watchdog import found
from tests.unit.app.engine.partition import Partition, event
from tests.unit.app.runtime.standin import Engine, run_of


@pytest.mark.parametrize("where", ["workflow", "step", "task"])
async def test_a_coroutine_that_blocks_the_loop_is_named_once_with_its_line(where: str) -> None:
    named = threading.Event()
    lines: list[Any] = []

    class Named(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "loop_blocked":
                lines.append(vars(record)["fields"])
                named.set()

    handler = Named()
    logging.getLogger("app.runtime.watchdog").addHandler(handler)

    async def block() -> None:
        assert named.wait(20)

    async def blocks(ctx: Any) -> None:
        await asyncio.sleep(0)
        if where == "step":
            await ctx.step.run("slow", block)
        elif where == "task":
            await asyncio.gather(block())
        else:
            await block()

    driver = Driver(limits=StepLimits(partitions=1), threads=1, blocked_seconds=0.2)
    engine = Engine(run_of(blocks), driver)
    await engine.start()
    ended = await engine.until_ended()
    driver.close()
    logging.getLogger("app.runtime.watchdog").removeHandler(handler)

    assert ended.failure is None
    (line,) = lines
    expected = {
        "longer_than_seconds": 0.2,
        "workflow": "blocks",
        "run": engine.run.id,
        "place": f"{__file__}:{block.__code__.co_firstlineno + 1}",
    }
    if where == "task":  # whose it is cannot be told
        del expected["run"]
    assert line == (expected | {"step": "slow"} if where == "step" else expected)


def test_a_filter_that_blocks_the_loop_is_named_by_its_workflow_though_it_is_deep_in_a_library() -> None:
    told: list[dict[str, Any]] = []

    def slow(_event: Any) -> bool:
        json.loads("1", parse_int=lambda _: told.append(found(sys._getframe(2), {})))
        return True

    workflow = run_of(slow).workflow
    partition = Partition()
    given = event(0)
    filters.answer(partition.state, workflow, slow, given.payload(), given, name="filter", remedy="mend it")
    assert told == [{"workflow": workflow.id, "place": f"{__file__}:{slow.__code__.co_firstlineno + 1}"}]

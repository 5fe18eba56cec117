import asyncio
import logging
import threading
from typing import Any

import pytest

from app.runtime.driver import Driver
from app.runtime.limits import StepLimits
from tests.unit.app.runtime.standin import Engine, run_of


@pytest.mark.parametrize("where", ["workflow", "step"])
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
    assert line == (expected | {"step": "slow"} if where == "step" else expected)

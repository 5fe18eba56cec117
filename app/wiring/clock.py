"""Real time, as the pump sees it."""

import asyncio
import time


class SystemClock:
    """Milliseconds since 1970, and waiting for an event until one of them."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def wait(self, event: asyncio.Event, until_ms: int | None) -> None:
        if until_ms is None:
            await event.wait()
            return
        left = until_ms - self.now_ms()
        if left <= 0:
            await asyncio.sleep(0)  # who is always late still lets others go on
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(left / 1000, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()

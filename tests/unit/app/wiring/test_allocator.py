"""What is freed between what is not goes back to the system, where the C library can do that."""

import asyncio
import ctypes
from pathlib import Path
from typing import Any

import pytest

from app.wiring import allocator

GLIBC = hasattr(ctypes.CDLL(None), "malloc_trim")
PAGE = 4096


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(not GLIBC, reason="only glibc has malloc_trim")
async def test_what_a_burst_left_free_between_what_stays_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "TRIM_SECONDS", 0.0)
    burst = [bytearray(40_000) for _ in range(2_000)]
    stays = burst[::20]
    full = resident_bytes()
    del burst
    task = asyncio.create_task(allocator.trim_now_and_then())
    try:
        async with asyncio.timeout(10):
            while resident_bytes() > full - 50_000_000:  # noqa: ASYNC110 a thread does it, and tells nobody
                await asyncio.sleep(0)
    finally:
        task.cancel()
    assert len(stays) == 100
    assert allocator.free_bytes() is not None


async def test_another_c_library_needs_no_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        def __init__(self, _name: Any) -> None:
            pass

    monkeypatch.setattr(ctypes, "CDLL", Other)

    allocator.tune()
    await allocator.trim_now_and_then()
    assert allocator.free_bytes() is None


async def test_what_is_free_and_given_back_already_is_not_given_back_again(monkeypatch: pytest.MonkeyPatch) -> None:
    megabytes = [17, 17, 17, 32, 10, 25, 26, 26]  # free: at each look, and after each time that it was given back
    given_back: list[int] = []
    enough = asyncio.Event()

    class Library:
        def malloc_trim(self, _pad: int) -> int:
            given_back.append(len(megabytes))
            return 1

    def free() -> int:
        if len(megabytes) == 1:
            enough.set()
        return (megabytes.pop(0) if len(megabytes) > 1 else megabytes[0]) * 1024 * 1024

    monkeypatch.setattr(allocator, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(allocator, "_library", lambda _needed: Library())
    monkeypatch.setattr(allocator, "free_bytes", free)
    task = asyncio.create_task(allocator.trim_now_and_then())
    await enough.wait()
    task.cancel()
    assert given_back == [7, 1]

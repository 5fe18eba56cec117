"""The memory of the C library: what is freed goes back to the system. Called by `worker`; glibc alone needs telling."""

import asyncio
import ctypes
from typing import Any, Final

M_TRIM_THRESHOLD: Final = -1  # of malloc.h, as the two below
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8
LARGE_BYTES: Final = 4 * 1024 * 1024
TRIM_SECONDS: Final = 15.0
WORTH_BYTES: Final = 16 * 1024 * 1024
"""So much that is free within the heap is given back: a burst of runs leaves it between what stays of them."""


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of malloc.h."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def tune() -> None:
    """Give large buffers back when they are freed: glibc would keep hundreds of megabytes of them."""
    library = _library("mallopt")
    if library is not None:
        library.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, LARGE_BYTES)
        library.mallopt(M_ARENA_MAX, 2)


def free_bytes() -> int | None:
    """Return how much of the heap is free and not given back, None where that is not known."""
    library = _library("mallinfo2")
    if library is None:
        return None
    library.mallinfo2.restype = _Mallinfo2
    return int(library.mallinfo2().fordblks)


async def trim_now_and_then() -> None:
    """Give back what is free between what is not, whenever that has become more, for as long as this runs.

    What was given back counts as free all the same. To give it back again would win nothing, and all of the heap is
    looked through for it, while nobody else gets memory.
    """
    library = _library("malloc_trim")
    left = 0
    while library is not None:
        await asyncio.sleep(TRIM_SECONDS)
        free = free_bytes()
        left = min(left, free or 0)
        if free is None or free - left >= WORTH_BYTES:
            await asyncio.to_thread(library.malloc_trim, 0)
            left = free_bytes() or 0


def _library(needed: str) -> Any:
    """Return the C library if it has this, None for another one."""
    try:
        library = ctypes.CDLL(None)
        getattr(library, needed)
    except (OSError, AttributeError):
        return None
    return library

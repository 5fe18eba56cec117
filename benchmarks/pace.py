"""How fast the machine is just now: three small programs of known work, timed before and after what is measured.

The other guests of a shared host take its memory bandwidth and its caches. A loop in registers then takes as long as
ever, and what walks through memory, as a broker and Python do, three times as long: figures of two days can be compared
only beside these.
"""

import socket
import time
from array import array
from pathlib import Path
from typing import Any, Final

_TURNS: Final = 3_000_000
_STEPS: Final = 1_000_000
_PLACES: Final = 1 << 22
"""8 bytes each: as much as a last-level cache has, or more."""
_SENDS: Final = 50_000
MULTIPLIER: Final = 1_664_525
INCREMENT: Final = 1_013_904_223


def measure() -> dict[str, float]:
    """Return nanoseconds of a loop's turn and of a random step through 32 MB, microseconds of a byte by a socket."""
    return {"loop_ns": _loop_ns(), "memory_ns": _memory_ns(), "socket_us": _socket_us()}


def ticks() -> tuple[int, int]:
    """Return how much time the host gave to others while this machine wanted it, and all time; in ticks of Linux."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0, 0
    spent = [int(one) for one in stat.read_text().splitlines()[0].split()[1:9]]
    return spent[7], sum(spent)


def stolen_percent(before: tuple[int, int]) -> float:
    """Return the share of the time since `before` that the host gave to others."""
    stolen, total = ticks()
    return round(100 * (stolen - before[0]) / max(1, total - before[1]), 1)


def told(of: dict[str, Any]) -> str:
    """Return the pace of a result in words."""
    first, last = of["before"], of["after"]
    figures = [
        f"{what} {_span(first[name], last[name])} {unit}"
        for what, name, unit in (
            ("a loop's turn", "loop_ns", "ns"),
            ("a step through memory", "memory_ns", "ns"),
            ("a byte by a socket", "socket_us", "µs"),
        )
    ]
    return f"Pace before and after: {', '.join(figures)}, {of['stolen_percent']} % of the time was stolen"


def _span(first: float, last: float) -> str:
    return f"{first:g}" if first == last else f"{first:g} and {last:g}"


def _loop_ns() -> float:
    began = time.perf_counter()
    total = 0
    for turn in range(_TURNS):
        total += turn & 7
    return round((time.perf_counter() - began) / _TURNS * 1e9, 1)


def _memory_ns() -> float:
    # Each place leads to another one, and all are one circle (Hull and Dobell: odd increment, multiplier 1 mod 4).
    following = array("Q", [(place * MULTIPLIER + INCREMENT) & (_PLACES - 1) for place in range(_PLACES)])
    place = 0
    began = time.perf_counter()
    for _ in range(_STEPS):
        place = following[place]
    return round((time.perf_counter() - began) / _STEPS * 1e9, 1)


def _socket_us() -> float:
    here, there = socket.socketpair()
    with here, there:
        began = time.perf_counter()
        for _ in range(_SENDS):
            here.send(b"x")
            there.recv(1)
        return round((time.perf_counter() - began) / _SENDS * 1e6, 2)

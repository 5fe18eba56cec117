"""What a durable run does, the same for every side: three steps, of which each needs the result of the one before.

`data` is what the event carries; every side hands it to these functions and notes nothing itself but waits and timers.
"""

from typing import Any

from benchmarks.sides import diary

pen = diary.Pen()

SPREAD = 10_000
"""Timers that fall due within one second, evenly."""


async def reserve(data: dict[str, Any]) -> dict[str, Any]:
    """Step 1."""
    pen.note(data["id"], 1)
    return {"order": data["order"], "quantity": data["quantity"]}


async def charge(run_id: str, reserved: dict[str, Any], price: int) -> dict[str, Any]:
    """Step 2."""
    pen.note(run_id, 2)
    return {"order": reserved["order"], "total": reserved["quantity"] * price}


async def ship(run_id: str, charged: dict[str, Any]) -> dict[str, Any]:
    """Step 3, and the result of the run."""
    pen.note(run_id, 3)
    return {"id": run_id, "total": charged["total"], "parcel": f"{charged['order']}/{run_id}"}


def shipped(run_id: str) -> dict[str, Any]:
    """Return what the run `run_id` must answer."""
    return {"id": run_id, "total": 3 * 1999, "parcel": f"4711/{run_id}"}


async def count(run_id: str, number: int) -> int:
    """Step `number` of a long run."""
    pen.note(run_id, number)
    return number


def due(data: dict[str, Any]) -> float:
    """Return when the timer of a run falls due, in seconds since 1970: its number's place in the second, or `seconds`,
    from `due`.
    """
    number = int(str(data["id"]).rpartition("-")[2])
    return float(data["due"]) + number * int(data.get("stride", 1)) % (SPREAD * int(data.get("seconds", 1))) / SPREAD

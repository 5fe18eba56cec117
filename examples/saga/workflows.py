"""A saga: three bookings that belong together. When one of them fails, what was done is undone, the last one first.

headgate dev examples/saga
headgate send trips/requested '{"id": 1, "to": "Oslo"}'
headgate send trips/requested '{"id": 2, "to": "Oslo", "sold_out": "car"}'
"""

from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Payload, Reject, StepError, workflow

PARTS: Final = ("flight", "hotel", "car")


class Trip(BaseModel):
    """What `trips/requested` carries."""

    id: int
    to: str
    sold_out: str | None = None
    """What cannot be had, for the example's sake."""


async def book(part: str, trip: Trip, reference: str) -> str:
    """Book one part. Equal references are one booking: it may be asked for again."""
    if part == trip.sold_out:
        raise Reject(f"no {part} left in {trip.to}")
    return f"{part} in {trip.to}"


async def cancel(part: str, reference: str) -> str:
    """Cancel a booking. One that is not there is no error: whether it was made is what nobody knows."""
    return part


@workflow(id="book_trip", trigger_on_event="trips/requested")
async def book_trip(ctx: Context, payload: Payload[Trip]) -> dict[str, Any]:
    """Book all parts, or none."""
    trip = payload["events"][0]["data"]
    begun: list[tuple[str, str]] = []
    booked: list[str] = []
    try:
        for part in PARTS:
            reference = f"{ctx.run_id}/{part}"
            begun.append((part, reference))  # before it is tried: what failed may have come to pass all the same
            booked.append(await ctx.step.run(f"book-{part}", book, part, trip, reference))
    except StepError as error:
        undone = [
            await ctx.step.run(f"cancel-{part}", cancel, part, reference, max_retries=1000, max_delay=600)
            for part, reference in reversed(begun)
        ]
        return {"failed": error.message, "undone": undone}
    return {"booked": booked}

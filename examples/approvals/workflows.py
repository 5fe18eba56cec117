"""Human approval: an expense waits until somebody has decided on a page. `page.py` beside this file is that page.

headgate dev examples/approvals
python examples/approvals/page.py
headgate send expenses/reported '{"by": "Ada", "what": "a train to Oslo", "amount": 180}'
"""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from headgate import Context, EventTimeout, Payload, workflow


class Expense(BaseModel):
    """What `expenses/reported` carries."""

    by: str
    what: str
    amount: float


async def pay(expense: Expense, idempotency_key: str) -> str:
    """Ask the bank."""
    return f"{expense.amount:.2f} to {expense.by}"


@workflow(id="expenses", trigger_on_event="expenses/reported")
async def expenses(ctx: Context, payload: Payload[Expense]) -> dict[str, Any]:
    """Pay what somebody approves within a week. What `suspend` is given is what the page shows."""
    expense = payload["events"][0]["data"]
    try:
        decision = await ctx.step.suspend("decision", data=expense.model_dump(), timeout=timedelta(weeks=1))
    except EventTimeout:
        return {"refused": "nobody decided within a week"}
    if not decision["approved"]:
        return {"refused": decision["why"]}
    return {"paid": await ctx.step.run("pay", pay, expense, max_retries=20)}

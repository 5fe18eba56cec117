"""Names of the functions around one, and of its module."""

from typing import Any

import headgate
from headgate.names import name_of, nonlocals_of

AROUND = "the module's"


def test_what_is_not_there_yet_is_left_out() -> None:
    def function() -> Any:
        return later, now, AROUND

    now = 1
    assert nonlocals_of(function) == {"now": 1}
    later = 2
    assert nonlocals_of(function) == {"later": 2, "now": 1}
    assert (name_of(function, "later"), name_of(function, "AROUND"), name_of(function, "nothing")) == (
        2,
        "the module's",
        None,
    )


def test_a_workflow_may_name_one_that_is_defined_below_it_in_the_same_function() -> None:
    text = """
from __future__ import annotations
from headgate import Payload, workflow
from pydantic import BaseModel

class Order(BaseModel):
    id: int

def make():
    @workflow(id="parent", trigger_on_event="orders/created")
    async def parent(ctx, payload: Payload[Order]):
        return await ctx.step.invoke_and_wait("child", child)

    @workflow(id="child", trigger_on_event="orders/none")
    async def child(ctx):
        return 1

    return parent
"""
    names: dict[str, Any] = {"__name__": "below"}
    exec(text, names)
    assert isinstance(names["make"](), headgate.Workflow)


def test_what_is_no_function_has_no_names() -> None:
    assert nonlocals_of(len) == {}
    assert name_of(len, "AROUND") is None

"""Headgate: Kafka-native, event-driven, durable workflows. What an author imports; these names are promised.

from headgate import workflow

@workflow(id="on_order_created", trigger_on_event="orders/created")
async def on_order_created(ctx, payload):
    order = payload["events"][0]["data"]
    await ctx.step.publish_event("announce", topic="orders/charged", data={"order": order["id"]})
    return {"charged": order["id"]}
"""

from headgate.conditions import Met, after, event_on
from headgate.context import Context, Sources, Step
from headgate.definition import BatchBy, Order, Workflow, workflow
from headgate.errors import (
    ChildError,
    DefinitionError,
    DuplicateStepKey,
    EventTimeout,
    HeadgateError,
    HistoryMismatch,
    Reject,
    RetryLater,
    StepError,
    TooManyWaits,
    WorkflowTimeout,
)
from headgate.event import Event, Payload
from headgate.schedule import CatchUp, Schedule

__all__ = [
    "workflow",
    "Workflow",
    "BatchBy",
    "Order",
    "Schedule",
    "CatchUp",
    "Context",
    "Step",
    "Sources",
    "Event",
    "Payload",
    "event_on",
    "after",
    "Met",
    "HeadgateError",
    "Reject",
    "RetryLater",
    "DefinitionError",
    "EventTimeout",
    "StepError",
    "ChildError",
    "TooManyWaits",
    "HistoryMismatch",
    "WorkflowTimeout",
    "DuplicateStepKey",
]

"""The shapes of the answers, for OpenAPI alone: the routes send bytes that are JSON already."""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field


class Detail(BaseModel):
    pointer: str = Field(description="JSON pointer to what is wrong (RFC 6901); empty: the body as a whole.")
    issue: str = Field(description="What is wrong there, and how to mend it.")


class ErrorBody(BaseModel):
    code: str = Field(description="For programs; its meaning never changes.")
    message: str = Field(description="The fact.")
    remedy: str = Field(description="What to do about it.")
    details: list[Detail]


class Error(BaseModel):
    error: ErrorBody


class ReadModelState(BaseModel):
    behind_records: int = Field(description="Records in Kafka that are not shown yet.")
    behind_seconds: float = Field(description="Age of what is shown, in seconds; grows while Kafka is away.")
    rebuilding: bool = Field(description="Whether older records are still being read; answers lack some until then.")


class Schedule(BaseModel):
    cron: str
    timezone: str
    catch_up: str = Field(description="What becomes of instants that passed while no worker ran it: skip, once or all.")


class Workflow(BaseModel):
    id: str
    version: str
    triggers: list[str] = Field(description="Logical topics and patterns.")
    batch_size: int
    batch_timeout_seconds: float | None
    batch_by: str
    order: str
    max_retries: int
    timeout_seconds: float | None
    has_filter: bool
    description: str | None
    schema_: dict[str, Any] | None = Field(alias="schema", description="JSON schema of the event data, if declared.")
    announced_at: str
    announced_by: str
    schedule: Schedule | None = Field(default=None, description="When it starts by itself, if it does.")


class WorkflowList(BaseModel):
    workflows: list[Workflow]
    read_model: ReadModelState


class OneWorkflow(BaseModel):
    workflow: Workflow
    read_model: ReadModelState


class SourceError(BaseModel):
    kind: str = Field(description="transient: it is tried again; permanent: somebody has to mend it.")
    reason: str
    message: str
    at: str


class Source(BaseModel):
    id: str
    kind: str
    state: str = Field(
        description="starting, connected, backing off, paused or failed; unknown where nobody has said anything, or "
        "no process runs sources."
    )
    since: str | None
    origin: str = Field(description="Who set it up: `file <name>`, `run <id>` or `api`.")
    topic: str = Field(description="Template of the logical topic of its events.")
    paused: bool
    path: str | None = Field(description="Where a webhook is called; null: nothing is called.")
    owner: str = Field(description="The process that runs it; of a webhook the gateway that answers.")
    epoch: str
    connected_at: str | None
    last_event_at: str | None
    last_byte_at: str | None
    events_received: int = Field(
        description="Since its owner began, as last event, byte and error; of a webhook by this gateway."
    )
    events_filtered: int
    dead_letters: int
    reconnect_attempts: int
    next_retry_at: str | None
    error: SourceError | None = Field(description="What is wrong now.")
    last_error: SourceError | None = Field(description="What went wrong last since its owner began, over or not.")
    position: str | None = Field(description="How far it has read, as JSON, cut short.")
    notes: dict[str, int] = Field(description="What its kind counts by itself, such as `missed` or `signature_wrong`.")
    delivery: str = Field(description="exactly-once, at-least-once or best-effort.")
    updated_at: str | None = Field(description="When its owner said so.")


class SourceList(BaseModel):
    sources: list[Source]
    rebuilding: bool = Field(description="Whether sources are still being read; some are missing until then.")


class OneSource(BaseModel):
    source: Source
    rebuilding: bool


class RunSummary(BaseModel):
    run_id: str
    workflow_id: str | None
    workflow_version: str | None
    status: str = Field(description="completed, failed, rejected, cancelled, or what a run that goes on is doing.")
    key: str | None
    started_at: str | None
    finished_at: str | None
    attempts: int | None
    error: dict[str, Any] | None = Field(description="Type and message.")


class Result(BaseModel):
    run_id: str
    workflow_id: str
    workflow_version: str
    status: str = Field(description="completed, failed, rejected or cancelled.")
    result: Any = Field(description="What the function returned.")
    error: dict[str, Any] | None = Field(description="Type, message and traceback of what ended the run.")
    events: list[dict[str, Any]]
    key: str | None
    started_at: str
    finished_at: str
    attempts: int


class Started(BaseModel):
    run_id: str
    run: str = Field(description="Path of the run, also in the header Location.")
    event_id: str = Field(description="Of the event that starts it; `GET /api/v1/events/{id}/explain` tells of it.")
    filter_decides: bool = Field(description="Whether the workflow's filter has yet to say whether there is a run.")


class Taken(BaseModel):
    event_id: str = Field(description="Of the event that says so in headgate.events.")


class RunList(BaseModel):
    runs: list[RunSummary]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: there is none.")
    read_model: ReadModelState


class Step(BaseModel):
    step: str = Field(description="Its key.")
    kind: str | None = Field(description="run, note, sleep, await, suspend or invoke.")
    what: str | None = Field(description="What was asked for.")
    state: Literal["open", "running", "done", "failed", "retrying"]
    asked_at: str | None
    started_at: str | None = Field(description="When its last attempt began.")
    finished_at: str | None
    queued_ms: int | None = Field(description="From asked_at to started_at.")
    took_ms: int | None = Field(description="From started_at to finished_at.")
    attempts: int | None
    waits_for: str | None
    since: str | None
    until: str | None = Field(description="null: as long as it takes.")
    retry_at: str | None
    error: dict[str, Any] | None
    received: list[dict[str, Any]] = Field(description="The events that it waited for: id, topic, partition, offset.")
    refused: list[dict[str, Any]] = Field(description="The first events that its filter refused.")
    published: str | None = Field(description="Id of the event that it published.")
    children: list[str] = Field(description="Ids of the runs that it started, of more than 100 the first.")
    children_count: int | None = Field(description="How many runs it started.")
    events_since: list[str] | None = Field(
        description="Of each event that it waits for, from which append time on it counts."
    )


class OneRun(BaseModel):
    run: dict[str, Any] = Field(
        description="The record of headgate.results, or the summary of a run that goes on; `accepted`, with its "
        "`event_id`, where this gateway accepted its call and nothing is told of it yet."
    )
    steps: list[Step] = Field(description="The steps that facts tell of, in their order.")
    facts: list[dict[str, Any]] = Field(description="What headgate.runs says of it, oldest first.")
    read_model: ReadModelState


class EventPlace(BaseModel):
    partition: int
    offset: int
    appended_at: str


class ExplainedWorkflow(BaseModel):
    workflow: str
    became: str = Field(
        description="How its run is or ended; else queued, gathering, asleep, filtered, refused, retired, no match, "
        "decided, not handled, no run or unknown."
    )
    run_id: str | None
    why: str | None


class ExplainedWait(BaseModel):
    run_id: str
    step: str
    what: str | None
    became: Literal["received", "refused", "resumed", "missed", "open"]
    why: str


class ExplainedEvent(BaseModel):
    event: dict[str, Any] = Field(description="What it is, where it landed, where its home is and by what.")
    duplicate_of: EventPlace | None
    repeated_by: list[EventPlace]
    dead_letters: list[dict[str, Any]]
    workflows: list[ExplainedWorkflow] = Field(description="Every announced workflow.")
    waits: list[ExplainedWait] = Field(description="Of runs that waited on its topic then.")
    waits_from: str = Field(description="Runs that began to wait before were not looked at; `since` looks further.")


class MalformedRecord(BaseModel):
    partition: int
    offset: int
    appended_at: str
    malformed: dict[str, Any] = Field(description="Type, message and remedy.")
    dead_letters: list[dict[str, Any]]


class Explained(BaseModel):
    events: list[ExplainedEvent | MalformedRecord] = Field(
        description="One for each key and source that has the id; a record that is no event is told as such."
    )


class DeadLetterList(BaseModel):
    dead_letters: list[dict[str, Any]] = Field(description="Records of headgate.dlq, newest first.")
    read_model: ReadModelState


class Accepted(BaseModel):
    event_id: str
    workflows: list[str] = Field(description="Ids of the workflows that it triggers; empty: none listens to its topic.")
    filter_decides: list[str] = Field(description="Those of them whose filter has yet to say whether it starts them.")


class AcceptedList(BaseModel):
    events: list[Accepted]


class Event(BaseModel):
    """`{topic, data}`; or `{name, payload}` with the same other fields."""

    model_config = ConfigDict(extra="forbid")

    topic: str = Field(max_length=512, description="Logical topic, such as orders/created.")
    data: Any
    event_type: str | None = Field(None, max_length=512)
    key: str | None = Field(None, max_length=1024, description="Events of one key keep their order.")
    id: str | None = Field(None, max_length=512, description="Equal ids of one key are one event.")
    created_at: str | None = Field(None, description="RFC 3339.")


class NamedEvent(BaseModel):
    """The same event in the words of the older interface."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=512)
    payload: Any
    event_type: str | None = Field(None, max_length=512)
    key: str | None = Field(None, max_length=1024)
    id: str | None = Field(None, max_length=512)
    created_at: str | None = None


class Alive(BaseModel):
    status: Literal["alive"]


class Check(BaseModel):
    up: bool
    detail: str = ""
    remedy: str = ""


class Ready(BaseModel):
    ready: bool
    checks: dict[str, Check]


Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: Final[Responses] = {404: {"model": Error}}
WRONG: Final[Responses] = {422: {"model": Error}}
_CALL_ERRORS: Final = {
    400: "The body is not JSON, or a header cannot be used.",
    404: "Nothing has this id.",
    413: "The body is too large.",
    415: "Not JSON, or compressed.",
    422: "JSON, but not what is asked for; `details` names every wrong place.",
    429: "Over a limit; Retry-After says when.",
    503: "Kafka is away or the gateway is busy; Retry-After says when.",
}
CALL_ERRORS: Final[Responses] = {status: {"model": Error, "description": text} for status, text in _CALL_ERRORS.items()}

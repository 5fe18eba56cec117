"""JSON Schemas (draft 2020-12) of the public records, one per topic: a promise to whoever reads our topics.

Printed into docs/reference/. A record may gain optional fields; a field never changes its meaning.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from topics import sources
from topics.facts import MOST_CHILDREN

Schema = Mapping[str, Any]

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_COUNT: Final = {"type": "integer", "minimum": 0}
_TIME: Final = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
    "description": "RFC 3339, UTC, milliseconds",
}
_RUN_ID: Final = {"type": "string", "pattern": "^[^:]+:[0-9a-f]{24}$", "description": "<workflow id>:<event digest>"}
_STATUS: Final = {"enum": ["completed", "failed", "rejected", "cancelled"]}
_ENCODING: Final = {"enum": ["utf-8", "base64", None]}


def _object(properties: dict[str, Any], *, optional: tuple[str, ...] = (), description: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }
    return found | {"description": description} if description else found


_ERROR: Final = _object({"type": _TEXT, "message": _TEXT, "traceback": _TEXT_OR_NULL})
_ERROR_OR_NULL: Final = {"anyOf": [_ERROR, {"type": "null"}]}
_PLACE: Final = {
    "type": "integer",
    "minimum": -1,
    "description": "-1 for what no topic has: the event of a schedule, what a source has read",
}
_EVENTS: Final = {
    "type": "array",
    "description": "the events that started the run, and where they landed",
    "items": _object({"id": _TEXT, "topic": _TEXT, "partition": _PLACE, "offset": _PLACE}),
}

RESULT: Final[Schema] = _object(
    {
        "run_id": _RUN_ID,
        "workflow_id": _TEXT,
        "workflow_version": _TEXT,
        "status": _STATUS,
        "result": {"description": "what the function returned; null unless completed"},
        "error": _ERROR_OR_NULL,
        "events": _EVENTS,
        "key": {**_TEXT_OR_NULL, "description": "the key of the first event"},
        "started_at": _TIME,
        "finished_at": _TIME,
        "attempts": _COUNT,
    },
    description="one finished run",
)

_FACT: Final = {"run_id": _RUN_ID, "workflow_id": _TEXT, "at": _TIME}
_STEP_FACT: Final = {**_FACT, "step": {**_TEXT, "description": "the step's key"}}
_STEP: Final = {"kind": _TEXT, "what": _TEXT}
_CHILDREN: Final = {
    "children": {
        "type": "array",
        "items": _RUN_ID,
        "maxItems": MOST_CHILDREN,
        "description": f"ids of the runs that the step started, in their order, of more than {MOST_CHILDREN} the first",
    },
    "children_count": {**_COUNT, "description": "how many runs the step started"},
}
_TIME_OR_NULL: Final[Schema] = {"oneOf": [_TIME, {"type": "null"}]}
RUN_FACT: Final[Schema] = {
    "description": "what happened to a run that outlives one batch",
    "oneOf": [
        _object(
            {
                "fact": {"const": "run_started"},
                **_FACT,
                "workflow_version": _TEXT,
                "key": _TEXT_OR_NULL,
                "events": _EVENTS,
            }
        ),
        _object({"fact": {"const": "run_retried"}, **_FACT, "attempt": _COUNT, "error": _ERROR, "retry_at": _TIME}),
        _object(
            {
                "fact": {"const": "run_finished"},
                **_FACT,
                "status": _STATUS,
                "attempts": _COUNT,
                "key": _TEXT_OR_NULL,
                "error": _ERROR_OR_NULL,
            }
        ),
        _object({"fact": {"const": "run_stuck"}, **_FACT, "attempt": _COUNT, "error": _ERROR}),
        _object({"fact": {"const": "run_resumed"}, **_FACT}),
        _object(
            {
                "fact": {"const": "step_waiting"},
                **_STEP_FACT,
                **_STEP,
                "since": _TIME,
                "until": _TIME_OR_NULL,
                "data": {"description": "what `suspend` shows to whoever decides"},
                "events_since": {
                    "type": "array",
                    "items": _TIME,
                    "description": "of each event that it waits for, from which append time on it counts",
                },
                **_CHILDREN,
            },
            optional=("data", "events_since", *_CHILDREN),
        ),
        _object(
            {
                "fact": {"const": "step_started"},
                **_STEP_FACT,
                **_STEP,
                "attempt": _COUNT,
                "asked_at": _TIME,
                "started_at": _TIME,
            }
        ),
        _object(
            {
                "fact": {"const": "step_refused"},
                **_STEP_FACT,
                "events": {**_EVENTS, "description": "events that the filter of the wait refused"},
            }
        ),
        _object(
            {
                "fact": {"const": "step_retried"},
                **_STEP_FACT,
                "attempt": _COUNT,
                "error": _ERROR,
                "retry_at": _TIME,
                **_STEP,
                "asked_at": _TIME,
            },
            optional=("kind", "what", "asked_at"),
        ),
        _object(
            {
                "fact": {"const": "step_finished"},
                **_STEP_FACT,
                **_STEP,
                "asked_at": _TIME,
                "started_at": _TIME,
                "finished_at": _TIME,
                "attempts": _COUNT,
                "error": _ERROR_OR_NULL,
                "events": {**_EVENTS, "description": "the events that the step waited for and received"},
                **_CHILDREN,
            },
            optional=("events", *_CHILDREN),
        ),
    ],
}

DEAD_LETTER: Final[Schema] = _object(
    {
        "code": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "reason": _TEXT,
        "remedy": _TEXT,
        "source": _object({"topic": _TEXT, "partition": _PLACE, "offset": _PLACE, "timestamp": _TIME}),
        "key": _TEXT_OR_NULL,
        "value": _TEXT_OR_NULL,
        "headers": {"type": "array", "items": {"type": "array", "prefixItems": [_TEXT, _TEXT_OR_NULL], "items": False}},
        "encoding": _object(
            {"key": _ENCODING, "value": _ENCODING, "headers": {"type": "array", "items": _ENCODING}},
            description="how to get the original bytes back from the texts; null where there were none",
        ),
        "run_id": {"anyOf": [_RUN_ID, {"type": "null"}]},
        "workflow_id": _TEXT_OR_NULL,
        "at": _TIME,
        "omitted": _object(
            {
                "key": _COUNT,
                "value": _COUNT,
                "headers": _COUNT,
                "value_sha256": {
                    "type": "string",
                    "pattern": "^[0-9a-f]{64}$",
                    "description": "of a value that the topic of dead letters was too small for",
                },
            },
            optional=("value_sha256",),
            description="bytes of key and value and the number of headers of an original too large to be here in full; "
            "of its headers the first that fit are",
        ),
    },
    optional=("omitted",),
    description="a record, or the event of a run, that failed for good",
)

ANNOUNCEMENT: Final[Schema] = _object(
    {
        "id": _TEXT,
        "version": _TEXT,
        "triggers": {"type": "array", "items": _TEXT},
        "batch_size": {"type": "integer", "minimum": 1},
        "batch_timeout_seconds": {"type": ["number", "null"]},
        "batch_by": {"enum": ["workflow", "key", "partition"]},
        "order": {"enum": ["key", "strict", "none"]},
        "max_retries": _COUNT,
        "timeout_seconds": {"type": ["number", "null"]},
        "has_filter": {"type": "boolean"},
        "description": _TEXT,
        "schema": {"type": ["object", "null"], "description": "JSON Schema of the event data"},
        "announced_at": _TIME,
        "announced_by": {"type": "string", "description": "instance id of the worker"},
        "schedule": _object(
            {"cron": _TEXT, "timezone": _TEXT, "catch_up": {"enum": ["skip", "once", "all"]}},
            description="when it starts by itself; absent for never",
        ),
        "cancel_on": {
            "type": "array",
            "items": _TEXT,
            "description": "topics and patterns whose events cancel the runs of their key; absent for none",
        },
        "has_cancel_filter": {
            "type": "boolean",
            "description": "whether code decides which of these events cancel; absent for no",
        },
        "on_failure": {**_TEXT, "description": "workflow that is started when a run failed for good; absent for none"},
    },
    optional=("schedule", "cancel_on", "has_cancel_filter", "on_failure"),
    description="a workflow that a worker runs",
)

_RETIREMENT: Final = _object(
    {"id": _TEXT, "retired_at": _TIME}, description="a workflow that somebody retired; null in its place means the same"
)

_LOADED: Final = _object(
    {
        "instance_id": _TEXT,
        "process": {"type": "string", "description": "another one at each start of the worker"},
        "workflows": {
            "type": "object",
            "description": "workflow id -> version that is loaded",
            "additionalProperties": _TEXT,
        },
        "every_seconds": {
            "type": "number",
            "exclusiveMinimum": 0,
            "description": "it says so again after this time; silent for three times as long, it is gone",
        },
        "at": _TIME,
    },
    description="what a worker has loaded; its key is worker/<instance id>",
)

WORKFLOWS: Final[Schema] = {
    "description": "workflows by their id, and workers; a key with a slash that a reader does not know is passed over",
    "oneOf": [ANNOUNCEMENT, _RETIREMENT, _LOADED],
}

_SOURCE_ID: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
    "description": "id of the source",
}
_KIND: Final = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,49}$", "description": "kind of the source"}
_FORMAT: Final = {"const": sources.FORMAT, "description": "records of another format are passed over"}

TRIGGER: Final[Schema] = _object(
    {
        "format": _FORMAT,
        "id": _SOURCE_ID,
        "kind": _KIND,
        "options": {"type": "object", "description": "as the kind describes them; secrets are named, never contained"},
        "filter": {"type": ["object", "null"], "description": "which events are published; null for all"},
        "reconnect": {"type": "object", "description": "how long to wait between attempts; empty for the defaults"},
        "topic": {**_TEXT_OR_NULL, "description": "template of the logical topic; null for {{ source.id }}/{{ type }}"},
        "key": {**_TEXT_OR_NULL, "description": "template of the events' key; null for what the kind says"},
        "paused": {"type": "boolean"},
        "origin": {**_TEXT, "description": "who has set it up: `file <name>` or `run <run id>`"},
    },
    description="how a source is set up; a record without a value removes it",
)

CURSOR: Final[Schema] = _object(
    {
        "format": _FORMAT,
        "kind": {**_TEXT, "description": "kind of the source, which alone can read the position"},
        "epoch": {**_TEXT, "description": "the owner and connection that wrote it"},
        "at": _TIME,
        "position": {"description": "where reading goes on, as the kind has it"},
    },
    description="how far a source was read; the key `/actions` is the partition's own place in `actions`",
)

ACTION: Final[Schema] = _object(
    {
        "format": _FORMAT,
        "id": {**_TEXT, "description": "idempotency key, the same at every repetition"},
        "source": _SOURCE_ID,
        "body": {"type": "object", "description": "what to send, as the kind describes it"},
        "expires_at": {**_TIME, "description": "after this time it is not tried any more"},
    },
    description="a message that a run asks a source to send",
)

_PROBLEM: Final = _object(
    {"kind": {"enum": ["transient", "permanent"]}, "reason": _TEXT, "message": _TEXT, "at": _TIME},
    description="what went wrong, and when; without secrets",
)
SOURCE: Final[Schema] = _object(
    {
        "id": _SOURCE_ID,
        "kind": _KIND,
        "state": {"enum": [one.value for one in sources.State]},
        "since": {**_TIME, "description": "when it came into this state"},
        "owner": {**_TEXT, "description": "the process that runs it"},
        "epoch": {**_TEXT, "description": "names its connection, over restarts and owners"},
        "connected_at": _TIME_OR_NULL,
        "last_event_at": _TIME_OR_NULL,
        "last_byte_at": _TIME_OR_NULL,
        "events_received": {**_COUNT, "description": "counts, last event, byte and error are since this owner began"},
        "events_filtered": _COUNT,
        "dead_letters": _COUNT,
        "reconnect_attempts": {**_COUNT, "description": "since it was connected last"},
        "next_retry_at": _TIME_OR_NULL,
        "error": {"anyOf": [_PROBLEM, {"type": "null"}], "description": "what is wrong now"},
        "last_error": {"anyOf": [_PROBLEM, {"type": "null"}], "description": "what went wrong last, over or not"},
        "position": {**_TEXT_OR_NULL, "description": "its position as JSON, cut short"},
        "notes": {"type": "object", "additionalProperties": _COUNT, "description": "what its kind counts by itself"},
        "delivery": {"enum": ["exactly-once", "at-least-once", "best-effort", ""]},
        "updated_at": _TIME,
    },
    description="how a source is, as its owner said last; a record without a value: it was removed",
)

SCHEMAS: Final[Mapping[str, Schema]] = MappingProxyType(
    {
        "results": RESULT,
        "runs": RUN_FACT,
        "dlq": DEAD_LETTER,
        "workflows": WORKFLOWS,
        "triggers": TRIGGER,
        "cursors": CURSOR,
        "actions": ACTION,
        "sources": SOURCE,
    }
)
"""Name of the topic in the catalog -> schema of its records."""

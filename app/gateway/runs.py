"""GET /api/v1/runs and /api/v1/dead-letters, from a read model that is rebuilt from Kafka."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from app.gateway import schemas
from app.gateway.errors import JSON, Problem, not_found
from topics import told

USUAL: Final = 50
MOST_RUNS: Final = 500
MOST_DEAD_LETTERS: Final = 200

Status = Literal["completed", "failed", "rejected", "cancelled", "running", "waiting", "retrying", "stuck"]

_UNKNOWN: Final = (
    "GET /api/v1/runs lists the runs that are kept; old ones are dropped. A run that was called for and has not begun "
    "(it is queued, no worker has loaded its workflow, or a filter refused it) is known to the gateway that accepted "
    "the call, if at all: GET /api/v1/events/{event_id}/explain with the `event_id` of that answer says what became "
    "of it."
)

# A form with a field that was left empty, and a script with an empty variable, ask for no filter.
_NONE_IF_EMPTY: Final = BeforeValidator(lambda given: given or None)
_USUAL_IF_EMPTY: Final = BeforeValidator(lambda given: USUAL if given == "" else given)

router = APIRouter()


class ReadModel(Protocol):
    """What the gateway asks of the read model. Records come as the JSON that Kafka holds."""

    def freshness(self) -> Mapping[str, Any]:
        """`behind_records`, `behind_seconds`, `rebuilding`."""
        ...

    async def runs(
        self, *, workflow: str | None, status: str | None, key: str | None, limit: int, cursor: str | None
    ) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Summaries, newest first, and the cursor of the next page. Raises ValueError for a cursor that is none."""
        ...

    async def run(self, run_id: str) -> tuple[bytes, Sequence[bytes]] | None:
        """One run's record and its facts."""
        ...

    async def dead_letters(self, *, limit: int) -> Sequence[bytes]:
        """Records of the dead letters, newest first."""
        ...


@router.get("/api/v1/runs", responses={200: {"model": schemas.RunList}, **schemas.WRONG})
async def list_runs(
    request: Request,
    workflow: Annotated[str | None, Query(description="Id of a workflow."), _NONE_IF_EMPTY] = None,
    status: Annotated[Status | None, Query(description="How the run ended, or what it does."), _NONE_IF_EMPTY] = None,
    key: Annotated[str | None, Query(description="Key of the events that started the run."), _NONE_IF_EMPTY] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_RUNS), _USUAL_IF_EMPTY] = USUAL,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before."), _NONE_IF_EMPTY] = None,
) -> Response:
    """Runs, newest first, without their results."""
    _refuse_unknown(request, "workflow", "status", "key", "limit", "cursor")
    model: ReadModel = request.app.state.gateway.read_model
    try:
        found, following = await model.runs(workflow=workflow, status=status, key=key, limit=limit, cursor=cursor)
    except ValueError:
        raise Problem(
            422,
            "wrong_parameters",
            "The cursor is none that this gateway gave.",
            remedy="Leave `cursor` out to begin with the newest runs.",
            details=[{"pointer": "/query/cursor", "issue": "not a cursor"}],
        ) from None
    body = {"runs": found, "next_cursor": following, "read_model": model.freshness()}
    return Response(orjson.dumps(body), media_type=JSON)


# Workflow ids may hold anything that a path may, so the run id takes the rest of it.
@router.get("/api/v1/runs/{run_id:path}", responses={200: {"model": schemas.OneRun}, **schemas.NOT_FOUND})
async def show_run(request: Request, run_id: str) -> Response:
    """One run with its result; its steps and the facts about it if it outlived a batch. One that this gateway accepted
    the call of is `accepted` until something is told of it.
    """
    gateway = request.app.state.gateway
    model: ReadModel = gateway.read_model
    found = await model.run(run_id)
    if found is not None:
        gateway.accepted.forget(run_id)
    elif (summary := gateway.accepted.summary(run_id)) is not None:
        found = orjson.dumps(summary), ()
    else:
        state = model.freshness()
        remedy = _UNKNOWN
        if state["rebuilding"] or state["behind_records"]:
            remedy = f"The read model is {state['behind_records']} records behind: ask again."
        raise not_found("run", run_id, remedy)
    record, facts = found
    body = {
        "run": orjson.Fragment(record),
        "steps": told.steps_of([orjson.loads(fact) for fact in facts]),
        "facts": [orjson.Fragment(fact) for fact in facts],
        "read_model": model.freshness(),
    }
    return Response(orjson.dumps(body), media_type=JSON)


@router.get("/api/v1/dead-letters", responses={200: {"model": schemas.DeadLetterList}, **schemas.WRONG})
async def list_dead_letters(
    request: Request, limit: Annotated[int, Query(ge=1, le=MOST_DEAD_LETTERS), _USUAL_IF_EMPTY] = USUAL
) -> Response:
    """Dead letters, newest first: what was refused, why, and how to mend it."""
    _refuse_unknown(request, "limit")
    model: ReadModel = request.app.state.gateway.read_model
    letters = [orjson.Fragment(one) for one in await model.dead_letters(limit=limit)]
    return Response(orjson.dumps({"dead_letters": letters, "read_model": model.freshness()}), media_type=JSON)


def _refuse_unknown(request: Request, *known: str) -> None:
    """A filter that nobody reads would answer with everything. Raises Problem."""
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        raise Problem(
            422,
            "wrong_parameters",
            "The parameters of this request do not fit.",
            remedy="Mend what `details` names; docs/reference/http.md lists the parameters.",
            details=[{"pointer": f"/query/{_escaped(name)}", "issue": _unknown(name, known)} for name in unknown],
        )


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown parameter {name!r}; " + (f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")

"""GET /api/v1/events/{id}/explain: what became of an event, read from Kafka when it is asked for."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from app.gateway import schemas
from app.gateway.errors import JSON, Problem, not_found
from app.gateway.events import unavailable

router = APIRouter()


class CannotExplain(Exception):
    """The answer could not be read. `wait_seconds`: when it may be."""

    def __init__(self, code: str, message: str, remedy: str, *, wait_seconds: int) -> None:
        super().__init__(message)
        self.code, self.message, self.remedy, self.wait_seconds = code, message, remedy, wait_seconds


class Explainer(Protocol):
    """Who reads (app.wiring.explaining)."""

    async def explain(self, event_id: str, since: str) -> Sequence[Mapping[str, Any]]:
        """One answer for each event that is meant. Raises ValueError for a span that is none, CannotExplain."""
        ...


@router.get(
    "/api/v1/events/{event_id:path}/explain",
    responses={200: {"model": schemas.Explained}, **schemas.NOT_FOUND, **schemas.WRONG, 503: {"model": schemas.Error}},
)
async def explain_event(
    request: Request,
    event_id: str,
    since: Annotated[
        str, Query(description="How far back to look for the event and for runs that waited: 30m, 24h, 7d.")
    ] = "24h",
) -> Response:
    """What became of an event: its home, its runs and the waits that it met, and why not the others. The id is that of
    its producer, or its place, `<partition>-<offset>`, which is found at once.
    """
    explainer: Explainer = request.app.state.gateway.explainer
    try:
        found = await explainer.explain(event_id, since)
    except ValueError as error:
        raise Problem(
            422,
            "wrong_parameters",
            "The parameters of this request do not fit.",
            remedy="Mend what `details` names; docs/reference/http.md lists the parameters.",
            details=[{"pointer": "/query/since", "issue": str(error)}],
        ) from None
    except CannotExplain as error:
        raise unavailable(error.code, error.message, f" {error.remedy}", error.wait_seconds) from None
    if not found:
        remedy = "Look further back, with ?since=7d; GET /api/v1/workflows lists what an event may trigger."
        raise not_found("event", event_id, remedy)
    return Response(orjson.dumps({"events": found}), media_type=JSON)

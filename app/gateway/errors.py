"""The one form of every HTTP error, and how a refusal is raised.

`{"error": {"code", "message", "remedy", "details": [{"pointer", "issue"}]}}`: the code is for programs and never
changes its meaning, the message is the fact, the remedy is what to do about it, `details` names every wrong place of
the body by a JSON pointer (RFC 6901).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.observe import logs

JSON: Final = "application/json"

log = logs.get(__name__)


class Problem(Exception):
    """A request that is refused. Raised anywhere below the routes, answered by `answer`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        remedy: str,
        details: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.remedy = status, code, message, remedy
        self.details = details
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The JSON that says so."""
        return orjson.dumps(
            {
                "error": {
                    "code": self.code,
                    "message": self.message,
                    "remedy": self.remedy,
                    "details": list(self.details),
                }
            }
        )

    def response(self) -> Response:
        """As Starlette sends it."""
        return Response(self.body(), self.status, self.headers, JSON)


def not_found(what: str, name: str, remedy: str) -> Problem:
    """404 for one thing that was asked for by its id."""
    return Problem(404, f"{what}_not_found".replace(" ", "_"), f"There is no {what} {name!r}.", remedy=remedy)


async def answer_problem(_request: Request, problem: Exception) -> Response:
    """Starlette's and FastAPI's handler for Problem."""
    assert isinstance(problem, Problem)
    return problem.response()


async def answer_http(request: Request, error: Exception) -> Response:
    """Starlette's handler for what its router refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    listed = "The paths are listed in /api/v1/openapi.json"
    listed += "; leave out the slash at the end." if request.url.path.endswith("/") else "."
    known = {
        404: ("path_not_found", f"There is no {request.url.path}.", listed),
        405: (
            "method_not_allowed",
            f"{request.url.path} does not take {request.method}.",
            f"Use {(error.headers or {}).get('Allow', 'another method')}.",
        ),
    }
    code, message, remedy = known.get(
        error.status_code, ("refused", str(error.detail), "See docs/reference/http.md for what this path takes.")
    )
    return Problem(error.status_code, code, message, remedy=remedy, headers=error.headers).response()


async def answer_crash(request: Request, error: Exception) -> Response:
    """The last handler. Starlette raises the error again after it, so that the server logs the traceback."""
    log.error("request_crashed", method=request.method, path=request.url.path, error=type(error).__name__)
    message = "The gateway met an error that it does not know."
    remedy = "Its log has the traceback. Repeating an event with the same Idempotency-Key or id is safe."
    return Problem(500, "internal_error", message, remedy=remedy).response()


async def answer_invalid_query(_request: Request, error: Exception) -> Response:
    """FastAPI's handler for query and path parameters that do not fit."""
    problems: Sequence[Any] = error.errors() if hasattr(error, "errors") else ()
    details = [
        {"pointer": "/" + "/".join(map(str, one["loc"])), "issue": str(one["msg"]).removeprefix("Value error, ")}
        for one in problems
    ]
    return Problem(
        422,
        "wrong_parameters",
        "The parameters of this request do not fit.",
        remedy="Mend what `details` names; docs/reference/http.md lists the parameters.",
        details=details,
    ).response()

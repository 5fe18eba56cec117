"""The one form of every error."""

import orjson

from app.gateway.errors import Problem, not_found


def test_an_error_has_code_message_remedy_and_details() -> None:
    problem = Problem(422, "code", "Fact.", remedy="Do.", details=[{"pointer": "/a", "issue": "wrong"}])
    assert orjson.loads(problem.body()) == {
        "error": {
            "code": "code",
            "message": "Fact.",
            "remedy": "Do.",
            "details": [{"pointer": "/a", "issue": "wrong"}],
        }
    }


def test_what_is_not_there_is_named() -> None:
    problem = not_found("run", "r:1", "Look elsewhere.")
    assert (problem.status, problem.code, problem.message) == (404, "run_not_found", "There is no run 'r:1'.")

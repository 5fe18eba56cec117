"""app.gateway.explain: the route. What it answers is made by app.ui.explanation."""

from app.gateway.explain import CannotExplain
from tests.unit.app.gateway.conftest import Serve

ANSWER = {"event": {"id": "e1"}, "workflows": [], "waits": []}


async def test_an_event_is_explained_whatever_its_id_holds(serve: Serve) -> None:
    async with serve() as served:
        served.explainer.found = {"e1": [ANSWER], "a/b c/explain": [ANSWER, ANSWER]}
        one = await served.client.get("/api/v1/events/e1/explain")
        two = await served.client.get("/api/v1/events/a%2Fb%20c%2Fexplain/explain", params={"since": "7d"})
        assert (one.status_code, one.json()) == (200, {"events": [ANSWER]})
        assert (two.status_code, two.json()) == (200, {"events": [ANSWER, ANSWER]})
        assert served.explainer.asked == [("e1", "24h"), ("a/b c/explain", "7d")]


async def test_an_event_that_is_not_there_is_404_with_what_to_do(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/api/v1/events/e1/explain")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "event_not_found")
        assert "?since=7d" in answer.json()["error"]["remedy"]


async def test_nobody_without_the_token_is_answered(serve: Serve) -> None:
    async with serve() as served:
        answer = await served.client.get("/api/v1/events/e1/explain", headers={"authorization": "Bearer other"})
        assert answer.status_code == 401
        assert served.explainer.asked == []


async def test_a_span_that_is_none_is_422(serve: Serve) -> None:
    async with serve() as served:
        served.explainer.error = ValueError("'soon' is no span of time")
        answer = await served.client.get("/api/v1/events/e1/explain?since=soon")
        assert answer.status_code == 422
        assert answer.json()["error"]["details"] == [{"pointer": "/query/since", "issue": "'soon' is no span of time"}]


async def test_what_cannot_be_read_now_is_503_with_its_time(serve: Serve) -> None:
    async with serve() as served:
        served.explainer.error = CannotExplain("explain_busy", "Another one.", "Wait.", wait_seconds=2)
        answer = await served.client.get("/api/v1/events/e1/explain")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["message"]) == (503, "explain_busy", "Another one.")
        assert (answer.headers["retry-after"], "Wait." in error["remedy"]) == ("2", True)

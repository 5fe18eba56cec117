"""The routes on top of the read model."""

from typing import Any, get_args

import orjson
import pytest

from app.gateway import schemas
from app.gateway.runs import Status
from topics import told


async def test_filters_reach_the_read_model_and_the_next_page_has_a_cursor(serve: Any) -> None:
    async with serve() as served:
        served.read_model.summaries = [{"run_id": "r:1"}, {"run_id": "r:2"}]
        answer = await served.client.get("/api/v1/runs?workflow=w&status=failed&key=k&limit=1&cursor=c")
        assert answer.json() == {
            "runs": [{"run_id": "r:1"}],
            "next_cursor": "more",
            "read_model": {"behind_records": 0, "behind_seconds": 0.0, "rebuilding": False},
        }
        assert served.read_model.asked == [{"workflow": "w", "status": "failed", "key": "k", "limit": 1, "cursor": "c"}]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "cursor=broken", "status=ko", "stat=failed"])
async def test_wrong_parameters_are_422_with_a_pointer(serve: Any, query: str) -> None:
    async with serve() as served:
        answer = await served.client.get(f"/api/v1/runs?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_parameters")
        assert [one["pointer"] for one in answer.json()["error"]["details"]] == [f"/query/{query.partition('=')[0]}"]


async def test_an_empty_parameter_is_as_good_as_left_out(serve: Any) -> None:
    async with serve() as served:
        answers = [
            await served.client.get(f"/api/v1/{path}")
            for path in ("runs?workflow=&status=&key=&limit=&cursor=", "runs", "dead-letters?limit=")
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert (
            served.read_model.asked
            == [{"workflow": None, "status": None, "key": None, "limit": 50, "cursor": None}] * 2
        )


async def test_an_unknown_parameter_is_refused_with_the_nearest_right_one(serve: Any) -> None:
    async with serve() as served:
        answers = [await served.client.get(f"/api/v1/{path}") for path in ("runs?stat=failed", "dead-letters?a/b=1")]
        assert [answer.status_code for answer in answers] == [422, 422]
        assert [answer.json()["error"]["details"] for answer in answers] == [
            [{"pointer": "/query/stat", "issue": "unknown parameter 'stat'; did you mean 'status'?"}],
            [{"pointer": "/query/a~1b", "issue": "unknown parameter 'a/b'; known: limit"}],
        ]
        assert served.read_model.asked == []


@pytest.mark.parametrize("status", get_args(Status))
async def test_every_status_is_a_filter(serve: Any, status: str) -> None:
    async with serve() as served:
        assert (await served.client.get(f"/api/v1/runs?status={status}")).status_code == 200
        assert served.read_model.asked[0]["status"] == status


async def test_a_run_is_shown_with_its_facts(serve: Any) -> None:
    async with serve() as served:
        served.read_model.records["w/x:1"] = (b'{"run_id":"w/x:1","result":1}', [b'{"fact":"run_started"}'])
        answer = (await served.client.get("/api/v1/runs/w/x:1")).json()
        assert (answer["run"], answer["facts"]) == ({"run_id": "w/x:1", "result": 1}, [{"fact": "run_started"}])


async def test_a_run_is_shown_with_its_steps(serve: Any) -> None:
    waits = {"fact": "step_waiting", "step": "paid?", "kind": "await", "what": "w", "since": "s", "until": None}
    async with serve() as served:
        served.read_model.records["w:1"] = (b'{"run_id":"w:1"}', [b'{"fact":"run_started"}', orjson.dumps(waits)])
        answer = (await served.client.get("/api/v1/runs/w:1")).json()
        [step] = answer["steps"]
        assert (step["step"], step["state"], step["waits_for"], step["since"]) == ("paid?", "open", "w", "s")
        assert schemas.Step.model_validate(step).model_dump() == step


def test_every_status_of_runs_is_one_of_the_gateways() -> None:
    assert sorted(get_args(Status)) == sorted(told.STATUSES)


async def test_a_run_that_is_not_there_yet_is_404_and_says_how_far_behind_the_read_model_is(serve: Any) -> None:
    async with serve() as served:
        served.read_model.state = {"behind_records": 7, "behind_seconds": 1.0, "rebuilding": False}
        answer = await served.client.get("/api/v1/runs/w:1")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "run_not_found")
        assert "7 records behind" in answer.json()["error"]["remedy"]


async def test_the_404_of_a_run_names_the_calls_that_another_gateway_accepted(serve: Any) -> None:
    async with serve() as served:
        remedy = (await served.client.get("/api/v1/runs/w:1")).json()["error"]["remedy"]
        assert remedy.startswith("GET /api/v1/runs lists the runs that are kept")  # the CLI goes by its beginning
        assert "no worker has loaded its workflow" in remedy
        assert "known to the gateway that accepted the call" in remedy
        assert "GET /api/v1/events/{event_id}/explain" in remedy


async def test_a_run_that_something_is_told_of_is_accepted_no_more(serve: Any) -> None:
    async with serve() as served:
        served.gateway.accepted.note("w:1", "e1")
        assert (await served.client.get("/api/v1/runs/w:1")).json()["run"]["status"] == "accepted"
        served.read_model.records["w:1"] = (b'{"run_id":"w:1","status":"running"}', [])
        assert (await served.client.get("/api/v1/runs/w:1")).json()["run"]["status"] == "running"
        served.read_model.records.clear()  # what it keeps is bounded
        assert (await served.client.get("/api/v1/runs/w:1")).status_code == 404


async def test_dead_letters_are_shown_as_kafka_has_them(serve: Any) -> None:
    async with serve() as served:
        served.read_model.letters = [b'{"code":"not_json"}', b'{"code":"other"}']
        answer = (await served.client.get("/api/v1/dead-letters?limit=1")).json()
        assert answer["dead_letters"] == [{"code": "not_json"}]
        assert answer["read_model"]["rebuilding"] is False

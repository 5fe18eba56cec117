"""examples/requests: the answer comes at once, later, or not at all."""

from examples.requests.workflows import batch_processor, requester, responder
from headgate.testing import Service, crashes


def test_a_responder_that_answers_at_once_is_heard() -> None:
    with Service(requester, responder) as service:
        service.send("headgate/start/requester", {})
        (result,) = service.results(requester)
        assert (result.status, result.result) == ("completed", {"done": "process"})


def test_an_answer_may_take_its_time_and_come_from_anybody() -> None:
    with Service(requester) as service:
        service.send("headgate/start/requester", {})
        (request,) = [one for one in service.events() if one.topic.startswith("requests/")]
        service.advance(seconds=299)
        service.restart()
        service.send(request.topic.replace("requests/", "responses/"), {"by": "hand"}, key="of another")
        (result,) = service.results()
        assert result.result == {"by": "hand"}


def test_a_request_without_an_answer_fails_after_its_time() -> None:
    with Service(requester) as service:
        service.send("headgate/start/requester", {})
        service.advance(minutes=10)
        (result,) = service.results()
        assert (result.status, result.error and result.error["type"]) == ("failed", "EventTimeout")


def test_the_answer_is_heard_wherever_the_worker_dies() -> None:
    for service in crashes(requester, responder):
        service.send("headgate/start/requester", {}, id="1")
        service.advance(seconds=10)
        assert [one.result for one in service.results(requester)] == [{"done": "process"}]


def test_updates_come_in_batches() -> None:
    with Service(batch_processor) as service:
        for number in range(11):
            service.send("data/updates", {"n": number})
        service.advance(seconds=30)
        assert [one.status for one in service.results()] == ["completed"] * 2

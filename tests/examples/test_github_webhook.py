"""examples/github_webhook: what is built, in which order, and which issues get which labels."""

from typing import Any

import pytest

from examples.github_webhook.workflows import github_build, github_triage
from headgate.testing import Service, crashes

SHOP = {"full_name": "ada/shop", "default_branch": "main", "private": False}


def push(service: Service, after: str, **more: Any) -> None:
    data = {"ref": "refs/heads/main", "after": after, "commits": [], "repository": SHOP} | more
    service.send("repo/push", data, key="ada/shop", id=f"delivery-{after}", event_type="push")


def builds(service: Service) -> list[Any]:
    return [one.result for one in service.results(github_build)]


def test_pushes_are_built_one_after_the_other() -> None:
    with Service(github_build) as service:
        for commit in ("aaaaaaaaa", "bad000000", "ccccccccc"):
            push(service, commit)
        service.advance(minutes=5)
        assert builds(service) == [
            {"commit": "aaaaaaaaa", "image": "ada/shop@aaaaaaa"},
            {"commit": "bad000000", "failed": "bad000000 does not compile"},
            {"commit": "ccccccccc", "image": "ada/shop@ccccccc"},
        ]
        assert [one.data for one in service.events("builds/finished")] == builds(service)


def test_a_redelivery_builds_nothing() -> None:
    with Service(github_build) as service:
        for _ in range(3):
            push(service, "aaaaaaaaa")
        assert len(builds(service)) == 1


@pytest.mark.parametrize("more", [{"ref": "refs/heads/topic"}, {"ref": "refs/tags/v1"}, {"deleted": True}])
def test_other_pushes_are_left_alone(more: dict[str, Any]) -> None:
    with Service(github_build) as service:
        push(service, "aaaaaaaaa", **more)
        assert builds(service) == []
        assert service.dead_letters() == []


def test_new_issues_get_labels() -> None:
    with Service(github_triage) as service:
        for number, (action, title, body) in enumerate(
            [
                ("opened", "Crash on start", "It is slow, too"),
                ("opened", "Hello", None),
                ("closed", "Crash on start", None),
            ]
        ):
            issue = {"number": number, "title": title, "body": body, "state": "open"}
            service.send("repo/issues", {"action": action, "issue": issue, "repository": SHOP}, key="ada/shop")
        assert [one.result for one in service.results()] == [
            {"issue": 0, "labels": ["bug", "performance"]},
            {"issue": 1, "labels": []},
        ]
        assert len(service.events("issues/labelled")) == 2


def test_a_push_is_told_once_wherever_the_worker_dies() -> None:
    for service in crashes(github_build):
        push(service, "aaaaaaaaa")
        service.advance(seconds=30)
        assert builds(service) == [{"commit": "aaaaaaaaa", "image": "ada/shop@aaaaaaa"}]
        assert len({one.id for one in service.events("builds/finished")}) == 1

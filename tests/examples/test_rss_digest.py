"""examples/rss_digest: hours of news in milliseconds."""

from typing import Any

from examples.rss_digest.workflows import rss_digest, send_digest
from headgate.testing import Service, crashes


def news(service: Service, feed: str, title: str, link: str | None = None) -> None:
    """As the source tells it, with what else it says."""
    link = link or f"https://{feed}.example/{title}"
    data = {"id": link, "title": title, "link": link, "summary": None, "feed": {"title": feed.upper(), "link": None}}
    service.send(f"news/{feed}", data, id=f"{feed}/{link}", event_type="new_item")


def sent(service: Service) -> list[Any]:
    return [one.result for one in service.results(send_digest)]


def test_an_hour_is_one_digest_over_restarts() -> None:
    with Service(rss_digest, send_digest) as service:
        news(service, "lwn", "kernel")
        service.advance(minutes=30)
        service.restart()
        news(service, "planet", "asyncio")
        news(service, "lwn", "git")
        service.advance(minutes=29)
        assert sent(service) == []
        service.advance(minutes=1)
        (text,) = sent(service)
        assert text == (
            "## LWN\n\n- [kernel](https://lwn.example/kernel)\n- [git](https://lwn.example/git)\n"
            "\n## PLANET\n\n- [asyncio](https://planet.example/asyncio)\n"
        )


def test_the_next_hour_begins_with_its_first_item() -> None:
    with Service(rss_digest, send_digest) as service:
        news(service, "lwn", "a")
        service.advance(hours=5)
        news(service, "lwn", "b")
        service.advance(minutes=59)
        assert len(sent(service)) == 1
        service.advance(minutes=1)
        assert [one.result["items"] for one in service.results(rss_digest)] == [1, 1]


def test_what_two_feeds_have_is_told_once() -> None:
    with Service(rss_digest, send_digest) as service:
        news(service, "lwn", "kernel", "https://kernel.example/")
        news(service, "planet", "Kernel!", "https://kernel.example/")
        service.advance(hours=1)
        assert sent(service) == ["## LWN\n\n- [kernel](https://kernel.example/)\n"]


def test_no_item_is_lost_or_doubled_wherever_the_worker_dies() -> None:
    for service in crashes(rss_digest, send_digest):
        news(service, "lwn", "a")
        service.advance(minutes=20)
        news(service, "lwn", "b")
        service.advance(hours=2)
        assert [one.count("- [") for one in sent(service)] == [2]

"""examples/fanout: children in any order, on any partition, and one of them that fails."""

from typing import Any

import pytest

from examples.fanout.workflows import album, thumbnail
from headgate.testing import Service, crashes


def upload(service: Service, *pictures: str) -> Any:
    service.send("albums/uploaded", {"album": "oslo", "pictures": list(pictures)}, id="oslo-uploaded")
    service.advance(hours=1)
    (found,) = service.results(album)
    assert found.status == "completed"
    return found.result


@pytest.mark.parametrize("count", [0, 1, 20])
def test_the_album_has_a_thumbnail_of_each_picture_in_their_order(count: int) -> None:
    with Service(album, thumbnail, partitions=4) as service:
        made = upload(service, *(f"{number}.jpg" for number in range(count)))
        assert made == {"thumbnails": [f"oslo/small-{number}.jpg" for number in range(count)], "failed": None}
        assert len(service.results(thumbnail)) == count


def test_a_picture_that_is_none_leaves_the_others() -> None:
    with Service(album, thumbnail) as service:
        made = upload(service, "a.jpg", "broken.jpg", "b.jpg")
        assert made["thumbnails"] == ["oslo/small-a.jpg", "oslo/small-b.jpg"]
        assert "broken.jpg is no picture" in made["failed"]


def test_no_thumbnail_is_missing_wherever_the_worker_dies() -> None:
    for service in crashes(album, thumbnail):
        assert upload(service, "a.jpg", "b.jpg")["thumbnails"] == ["oslo/small-a.jpg", "oslo/small-b.jpg"]

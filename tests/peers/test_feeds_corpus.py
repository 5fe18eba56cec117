"""feedparser's own corpus: every feed in it has ids that stay, and becomes data that is JSON of a bounded size.

The corpus is in feedparser's source archive, folder `tests` (`pip download --no-binary :all: --no-deps feedparser`);
FEED_CORPUS names where that lies.
"""

import os
import re
from collections import Counter
from pathlib import Path
from typing import Final

import orjson
import pytest

from connectors.rss import markup, reader
from connectors.rss.entries import Entry, Feed, NotAFeed
from connectors.rss.memory import Memory

CORPUS: Final = Path(os.environ.get("FEED_CORPUS", ""))
FOLDERS: Final = {"wellformed": 1_500, "illformed": 15, "encoding": 150, "entities": 200}
"""With the fewest files that are there."""
BROKEN_AT_MOST: Final = {"wellformed": 0.05, "illformed": 1.0, "encoding": 0.9, "entities": 1.0}

pytestmark = pytest.mark.skipif(
    "FEED_CORPUS" not in os.environ,
    reason="FEED_CORPUS does not name the folder `tests` of feedparser's source archive",
)


def feeds(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).rglob("*.xml"))


def read(path: Path, *, address: str = "https://a.example/feed") -> Feed:
    body = path.read_bytes()
    said = re.search(rb"Header:\s*content-type:\s*([^\n]+)", body[:2048], re.IGNORECASE)
    content_type = "application/xml" if said is None else said[1].decode("latin-1").strip()
    return markup.made(reader.encoded(reader.found(body, content_type)), address=address)


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [one.id for one in entries]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_feed_has_the_same_ids_twice_and_elsewhere(folder: str) -> None:
    found = feeds(folder)
    assert len(found) >= FOLDERS[folder]
    counts: Counter[str] = Counter()
    for path in found:
        try:
            feed = read(path)
        except NotAFeed:
            with pytest.raises(NotAFeed):
                read(path)
            counts["no feed"] += 1
            continue
        again = read(path, address="http://moved.example/x/y?z")
        assert ids(again.entries) == ids(feed.entries), path
        known = Memory(tag="t").after(feed.entries)
        assert known.fresh(again.entries[::-1]) == [], path
        for one in feed.entries:
            assert len(orjson.dumps(one.data)) < 900_000, path
        counts["feeds"] += 1
        counts["entries"] += len(feed.entries)
        counts["broken"] += feed.broken is not None
    print(f"{folder}: {dict(counts)}")

    assert counts["feeds"] >= 0.9 * len(found)
    assert counts["broken"] <= BROKEN_AT_MOST[folder] * len(found)

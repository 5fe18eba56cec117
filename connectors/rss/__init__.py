"""Feeds (RSS, Atom, JSON Feed), polled: a `new_item` for each entry that was not there before."""

from typing import Final

from connectors.rss.source import DELIVERY, EXAMPLE, Config, Source

EMITS: Final = """\
`new_item`: `{id, title, link, summary, content, authors, categories, published, updated, enclosures, feed, truncated}`.
What the entry does not say is null or empty, `enclosures` are `{url, type, length}`, `feed` is `{title, link}`, and
`truncated` names what was too long and is cut."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]

"""Feeds (RSS, Atom, JSON Feed), polled: a `new_item` for each entry that was not there before."""

from connectors.rss.source import DELIVERY, EXAMPLE, Config, Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]

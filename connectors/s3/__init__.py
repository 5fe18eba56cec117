"""Objects of an Amazon S3 bucket that are created, updated or deleted, by notifications or by listing it.

Notifications (`mode: queue`) come at least once and in no order; an object that was overwritten is a `create`, too.
Listing (`mode: list`) sees what differs between two looks, and needs no more than the bucket.
"""

from typing import Final

from connectors.s3.source import DELIVERY, EXAMPLE, Config, Source

EMITS: Final = """\
`create`, `update` and `delete`: `{bucket, key, size_bytes, etag, ...}`, from a listing with `modified`, from
notifications with `event`, `event_time` and what else they say; with the option `content` also `content` and
`content_omitted`. What a listing misses is `{bucket, key}`. The key is the object's."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]

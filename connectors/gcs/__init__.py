"""Objects of a Google Cloud Storage bucket that are created, updated or deleted, by notifications or by listing it.

Notifications (`mode: queue`) come through a Pub/Sub subscription, at least once. Listing (`mode: list`) sees what
differs between two looks, and needs no more than the bucket. New metadata are an update, too.
"""

from typing import Final

from connectors.gcs.source import DELIVERY, EXAMPLE, Config, Source

EMITS: Final = """\
`create`, `update` and `delete`: `{bucket, key, generation, size_bytes, ...}`, from notifications with `event`; with
the option `content` also `content` and `content_omitted`. What a listing misses is `{bucket, key}`. The key is the
object's."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]

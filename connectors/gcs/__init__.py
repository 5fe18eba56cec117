"""Objects of a Google Cloud Storage bucket that are created, updated or deleted, by notifications or by listing it.

Notifications (`mode: queue`) come through a Pub/Sub subscription, at least once. Listing (`mode: list`) sees what
differs between two looks, and needs no more than the bucket. New metadata are an update, too.
"""

from connectors.gcs.source import DELIVERY, EXAMPLE, Config, Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]

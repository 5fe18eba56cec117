"""Objects of an Amazon S3 bucket that are created, updated or deleted, by notifications or by listing it.

Notifications (`mode: queue`) come at least once and in no order; an object that was overwritten is a `create`, too.
Listing (`mode: list`) sees what differs between two looks, and needs no more than the bucket.
"""

from connectors.s3.source import DELIVERY, EXAMPLE, Config, Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]

"""Local folders: `create`, `update` and `delete` of files, once each is written to its end.

The truth is a scan of the whole folder, compared with what is known of it; notifications of the system only bring the
next scan forward. They are lost, late and incomplete in too many ways to be more than that.
"""

from connectors.file.source import DELIVERY, EXAMPLE, Config, Source

__all__ = ["DELIVERY", "EXAMPLE", "Config", "Source"]

"""Local folders: `create`, `update` and `delete` of files, once each is written to its end.

The truth is a scan of the whole folder, compared with what is known of it; notifications of the system only bring the
next scan forward. They are lost, late and incomplete in too many ways to be more than that.
"""

from typing import Final

from connectors.file.source import DELIVERY, EXAMPLE, Config, Source

EMITS: Final = """\
`create`, `update` and `delete`: `{path, name, folder, size_bytes, modified}`, with the option `content` also
`content` and `content_omitted`, which says why there is none. The key is the path."""

__all__ = ["DELIVERY", "EMITS", "EXAMPLE", "Config", "Source"]

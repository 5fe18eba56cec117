"""The fixture of scripted sources."""

from tests.unit.connectors.base.framed import scripted

__all__ = ["scripted"]

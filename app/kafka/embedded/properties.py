"""The files of settings that Java programs read (java.util.Properties.load)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def text(properties: Mapping[str, str]) -> str:
    """One line per setting, in the order of their names."""
    return "".join(f"{name}={value.translate(_ESCAPES)}\n" for name, value in sorted(properties.items()))

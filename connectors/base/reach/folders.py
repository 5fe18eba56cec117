"""Which files of the machine sources may read: those in folders that the setting `connectors.folders` names, no others.

Options come from users; without this a source could read whatever its process can, its secrets among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.base.contract import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders; `/` is everything. Links are followed before a path is judged."""

    allowed: Sequence[str] = ()

    def permit(self, path: str) -> None:
        """Raise Refused for a path outside of them."""
        try:
            real = Path(path).resolve()
            roots = [Path(one).resolve() for one in self.allowed]
        except (OSError, RuntimeError, ValueError) as error:
            raise Refused(f"the path cannot be resolved: {type(error).__name__}", reason="forbidden_path") from None
        if not any(real.is_relative_to(root) for root in roots):
            raise Refused(
                f"{path!r} is in no folder that sources may read; name its folder in the setting connectors.folders",
                reason="forbidden_path",
            )

"""A folder into which files are put. What is revoked is the folder."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from connectors.base.contract import Site
from tests.contract.outside import Outside, hurried


class Folder(Outside):
    kind = "file"
    begins_with_position = True
    edited: ClassVar[Mapping[str, Any]] = {"max_content_bytes": 1000}
    refusal = "absent"

    async def open(self) -> None:
        self._folder = self.folder / "inbox"
        self._folder.mkdir()

    @property
    def options(self) -> Mapping[str, Any]:
        return {"path": str(self._folder), "settle": 0, "interval": 0.5}

    async def happen(self, number: int) -> None:
        folder = self._folder if self._folder.exists() else self._folder.with_name("away")
        being_written = folder / f".{number}"
        being_written.write_text(f"{number}\n", encoding="utf-8")
        being_written.rename(folder / f"{number}.csv")

    def number(self, event: Mapping[str, Any]) -> int:
        return int(event["data"]["path"].removesuffix(".csv"))

    async def revoke(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    async def restore(self) -> None:
        self._folder.with_name("away").rename(self._folder)

    def site(self, site: Site) -> Site:
        return hurried(site, speed=20)


OUTSIDES: Final = {"file": Folder}

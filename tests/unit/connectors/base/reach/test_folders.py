"""Which files sources may read."""

from pathlib import Path

import pytest

from connectors.base.contract import Refused
from connectors.base.reach.folders import Folders


def test_what_is_in_an_allowed_folder_may_be_read(tmp_path: Path) -> None:
    folders = Folders(allowed=(str(tmp_path),))
    folders.permit(str(tmp_path))
    folders.permit(str(tmp_path / "deep" / "file"))
    Folders(allowed=("/",)).permit("/etc/hosts")


def test_everything_else_is_refused_with_the_setting_that_allows_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to("/etc")
    folders = Folders(allowed=(str(tmp_path / "in"),))
    for path in ("/etc/hosts", f"{tmp_path}/in/../out", f"{tmp_path}/in/link/hosts", f"{tmp_path}/inside", "a\0b"):
        with pytest.raises(Refused, match=r"connectors\.folders|cannot be resolved"):
            folders.permit(path)
    with pytest.raises(Refused):
        Folders().permit(str(tmp_path))


def test_an_allowed_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    Folders(allowed=(str(tmp_path / "link"),)).permit(str(tmp_path / "link" / "file"))

"""What has changed between two scans, and when it is told."""

import random

from connectors.file import snapshot
from connectors.file.changes import Changes, Kind
from connectors.file.folder import Scan, Seen
from connectors.file.selection import Selection
from connectors.file.snapshot import Known

EVERYTHING = Selection(patterns=("*",), ignore=(), recursive=True)
A = Seen(1, 10, 100)
B = Seen(2, 20, 200)


def scan(closed: set[str] | None = None, /, **files: Seen) -> Scan:
    found = {path.replace("_", "/"): seen for path, seen in files.items()}
    return Scan(root=(1, 1), is_mount=False, files=found, closed=closed or set())


def changes(*, settle_seconds: float = 2.0, **files: Seen) -> Changes:
    made = Changes(Known(folder="f", selection=EVERYTHING), settle_seconds=settle_seconds)
    made.adopt(scan(**files))
    return made


def told(one: Changes, found: Scan, now: float) -> list[tuple[Kind, str]]:
    settled = one.look(found, now)
    for change in settled:
        one.told(change)
    return [(change.kind, change.path) for change in settled]


def test_a_new_file_is_told_once_it_has_settled() -> None:
    one = changes()

    assert told(one, scan(a=A), 0.0) == []
    assert one.due() == 2.0
    assert told(one, scan(a=A), 1.9) == []
    assert told(one, scan(a=A), 2.0) == [(Kind.CREATE, "a")]
    assert told(one, scan(a=A), 9.0) == []
    assert one.due() is None


def test_a_file_that_is_written_slowly_is_told_at_its_end() -> None:
    one = changes()
    for second in range(10):
        assert told(one, scan(a=A._replace(size=second)), second) == []
    assert told(one, scan(a=A._replace(size=9)), 10.5) == []

    assert told(one, scan(a=A._replace(size=9)), 11.0) == [(Kind.CREATE, "a")]


def test_any_part_of_its_state_makes_an_update() -> None:
    one = changes(a=A, settle_seconds=0.0)
    for seen in (A._replace(size=101), A._replace(mtime_ns=11), A._replace(inode=9)):
        assert told(one, scan(a=seen), 0.0) == [(Kind.UPDATE, "a")]
        assert told(one, scan(a=seen), 0.0) == []


def test_a_file_that_is_gone_is_told_once_it_stayed_away() -> None:
    one = changes(a=A, b=B)

    assert told(one, scan(b=B), 0.0) == []
    assert told(one, scan(a=A, b=B), 1.0) == []
    assert told(one, scan(b=B), 2.0) == []
    assert told(one, scan(b=B), 4.0) == [(Kind.DELETE, "a")]
    assert told(one, scan(b=B), 9.0) == []


def test_a_file_that_is_replaced_by_way_of_deleting_it_is_an_update() -> None:
    one = changes(a=A)

    assert told(one, scan(), 0.0) == []
    assert told(one, scan(a=B), 1.0) == []
    assert told(one, scan(a=B), 3.0) == [(Kind.UPDATE, "a")]


def test_a_file_that_changes_back_has_not_changed() -> None:
    one = changes(a=A)

    assert told(one, scan(a=A), 0.0) == []
    assert told(one, scan(a=B), 0.0) == []
    assert told(one, scan(a=A), 1.0) == []
    assert one.due() is None
    assert told(one, scan(a=B), 2.0) == []


def test_a_file_that_goes_before_it_settled_is_never_told() -> None:
    one = changes()

    assert told(one, scan(a=A), 0.0) == []
    assert told(one, scan(), 1.0) == []
    assert one.due() is None
    assert told(one, scan(a=A), 2.5) == []


def test_what_is_below_a_folder_that_cannot_be_read_is_not_gone() -> None:
    one = changes(x_y_a=A, xy=B, settle_seconds=0.0)

    assert told(one, scan({"x"}), 0.0) == [(Kind.DELETE, "xy")]
    assert told(one, scan(), 1.0) == [(Kind.DELETE, "x/y/a")]


def test_the_oldest_change_comes_first_and_the_gone_before_all() -> None:
    one = changes(z=A, settle_seconds=0.0)

    assert [path for _, path in told(one, scan(b=A, a=B, c=A), 0.0)] == ["z", "b", "c", "a"]


def test_what_was_not_told_comes_again_and_may_settle_anew() -> None:
    one = changes(settle_seconds=1.0)
    one.look(scan(a=A), 0.0)
    (change,) = one.look(scan(a=A), 1.0)
    assert one.look(scan(a=A), 1.5) == [change]

    one.again(change)
    assert one.look(scan(a=A), 1.6) == []
    assert one.look(scan(a=A), 2.6) == [change]


def test_files_that_are_adopted_are_known() -> None:
    one = changes(settle_seconds=0.0)
    one.adopt(scan(a=A, b=B), only=lambda path: path == "a")

    assert told(one, scan(a=A, b=B), 0.0) == [(Kind.CREATE, "b")]


def test_files_of_which_digests_are_known_are_found_again() -> None:
    a, b, c = (random.Random(number).randbytes(200).hex() for number in range(3))
    before = changes()
    before.adopt(scan(**{a: A, b: B, c: A}))
    known = snapshot.decode(snapshot.encode(before.known, most_bytes=500))
    assert known is not None
    assert len(known.unnamed) == 3
    one = Changes(known, settle_seconds=0.0)

    assert sorted(told(one, scan(**{a: A, b: A, "d": A}), 0.0)) == [(Kind.CREATE, "d"), (Kind.UPDATE, b)]
    assert one.forget_unnamed() == 1
    assert told(one, scan(**{b: A, "d": A}), 1.0) == [(Kind.DELETE, a)]
    assert one.forget_unnamed() == 0

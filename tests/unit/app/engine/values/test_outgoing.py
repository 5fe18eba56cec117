from app.engine.values.outgoing import Outgoing, Record
from topics.facts import shared_headers

RECORD = Record("dlq", None, None, b"{}", ())


def test_a_round_that_sends_nothing_is_false_and_any_other_is_true() -> None:
    assert [
        bool(one)
        for one in (
            Outgoing(1),
            Outgoing(1, results=[(b"k", b"v", shared_headers("charge", "completed", 0), None)]),
            Outgoing(1, runs=[RECORD]),
            Outgoing(1, records=[RECORD]),
        )
    ] == [False, True, True, True]


def test_rounds_do_not_share_their_records() -> None:
    Outgoing(1).records.append(RECORD)

    assert Outgoing(2) == Outgoing(2, [], [], [])

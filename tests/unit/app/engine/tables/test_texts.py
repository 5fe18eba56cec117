"""Texts have short forms, and come back from them."""

import random

import pytest

from app.engine.tables import texts
from app.engine.tables.texts import Pieces, Texts, key_of, key_of_run
from topics.keys import DIGEST_BYTES


def test_a_text_has_one_number_however_often_it_comes() -> None:
    of = Texts()

    assert [of.short(one) for one in ("a", "b", "a", None)] == [0, 1, 0, None]
    assert [of.full(one) for one in (0, 1, None)] == ["a", "b", None]
    assert Texts(of.texts).short("b") == 1


def test_texts_above_the_bound_and_long_ones_stay_as_they_are() -> None:
    of = Texts([str(n) for n in range(texts._MOST)])

    assert (of.short("5"), of.short("new")) == (5, "new")
    assert Texts().short("x" * 257) == "x" * 257
    assert of.text("new") == "new"


def test_ids_of_runs_come_back_whatever_they_look_like() -> None:
    of = Texts()
    digest = bytes(range(DIGEST_BYTES))

    for name in (
        f"charge:{digest.hex()}",
        f"charge:{digest.hex().upper()}",
        digest.hex(),
        "run-1",
        "",
        "é" * 30,
        "0 " * 20,
    ):
        before, found = of.id_of(name)
        assert len(found) == DIGEST_BYTES
        assert of.id(before, found) == name
    assert of.id_of(f"charge:{digest.hex()}") == (0, digest)


def test_keys_of_texts_differ_and_are_the_same_on_every_machine() -> None:
    assert key_of("a").hex() == "40f89e395b66422f"
    assert key_of("a") != key_of("b")
    assert len(key_of("\ud800")) == 8


def test_the_key_of_a_run_is_of_its_digest_where_it_has_one() -> None:
    digest = bytes(range(DIGEST_BYTES))

    assert key_of_run(f"charge:{digest.hex()}") == digest[-8:]
    for name in ("run-1", "", "12", " " * 16, "é" * 16):
        assert key_of_run(name) == key_of(name)


def test_a_text_gets_its_number_with_the_second_value_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    of = Texts()

    assert [of.shared(text, whose) for text, whose in (("a", b"1"), ("a", b"1"), ("a", b"2"), ("a", b"1"))] == [
        "a",
        "a",
        0,
        0,
    ]
    assert (of.shared(None, b"1"), of.shared("x" * 257, b"1"), of.shared("x" * 257, b"2")) == (None, *["x" * 257] * 2)
    monkeypatch.setattr(texts, "_ONCE", 4)
    for number in range(100):
        of.shared(f"own {number}", b"%d" % number)
    assert (of.texts, len(of._once) <= 5) == (["a"], True)


def test_pieces_come_back_whatever_the_texts_have_in_common() -> None:
    for seed in range(300):
        chance, of = random.Random(seed), Texts()
        for _ in range(20):
            digest = bytes(chance.choices(range(256), k=DIGEST_BYTES))
            words = ("", "/", "o-1", "orders/", "paid", "a", "aa", "é", "topic='", digest.hex(), "0")
            given = ["".join(chance.choices(words, k=chance.randrange(6))) for _ in range(6)]
            writes, reads = Pieces(of, digest), Pieces(of, digest)
            cut = [writes.cut(one) for one in (None, *given)]
            assert [reads.full(one) for one in cut] == [None, *given]
            assert writes._own == reads._own


def test_what_stands_in_a_value_twice_is_stored_once() -> None:
    of = Texts()
    for number in (1, 2, 3):
        digest = bytes([number] * DIGEST_BYTES)
        pieces = Pieces(of, digest)
        topic = f"orders/o-{number}/paid"
        cut = [
            pieces.cut(one) for one in (topic, f"wait {topic!r} no key", f"headgate/resume/charge:{digest.hex()}/ok")
        ]

    assert cut == [
        [of.short("orders/"), "o-3/", of.short("paid")],
        [of.short("wait '"), -2, of.short("' no key")],
        [of.short("headgate/resume/charge:"), -1, of.short("/ok")],
    ]


def test_names_come_back_from_what_is_around_the_digest_in_them() -> None:
    of = Texts()
    digest = bytes(range(DIGEST_BYTES))
    name = f"charge:{digest.hex()}#paid#0"

    assert of.around(name) == ("charge:", digest, "#paid#0")
    assert of.around(f"charge:{bytes(DIGEST_BYTES).hex()}#paid#0") == (0, bytes(DIGEST_BYTES), 1)
    assert of.around(name) == (0, digest, 1)
    for other in (
        "",
        "charge",
        "charge:",
        f"charge:{digest.hex()[1:]}",
        f"charge:{digest.hex().upper()}",
        "a:" + " 1" * 12,
    ):
        assert of.around(other) == (None, b"", None)

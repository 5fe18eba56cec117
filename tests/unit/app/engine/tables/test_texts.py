"""Texts have short forms, and come back from them."""

from app.engine.tables import texts
from app.engine.tables.texts import Texts, key_of, key_of_run
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

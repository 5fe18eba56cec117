"""A packed table holds what a dict of lists would, whatever is put in and taken out."""

import random
from collections import defaultdict

import pytest

from app.engine.tables.packed import KEY_BYTES, MOST_BYTES, Packed


def key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "little")


def test_it_holds_what_was_put_in_and_not_taken_out() -> None:
    for seed in range(12):
        chance = random.Random(seed)
        table, model = Packed(), defaultdict[bytes, list[bytes]](list)
        keys = [key(chance.getrandbits(64)) for _ in range(chance.choice((3, 40, 300)))]
        for _ in range(600):
            one = chance.choice(keys)
            # Values hold keys too: bytes that look like the beginning of another value.
            value = chance.choice((b"", one, chance.choice(keys) + b"\x02\x00", chance.randbytes(20)))
            act = chance.random()
            if act < 0.55:
                table.put(one, value)
                model[one].append(value)
            elif act < 0.8:
                assert table.take(one) == (model[one].pop(0) if model[one] else None)
            else:
                found = value in model[one]
                assert table.take(one, value) == (value if found else None)
                if found:
                    model[one].remove(value)
        for one in keys:
            assert list(table.of(one)) == model[one]
            assert table.may_hold(one) or not model[one]
        assert len(table) == sum(map(len, model.values()))
        assert sorted(table) == sorted((one, value) for one, values in model.items() for value in values)


def test_it_grows_without_losing_anything_and_comes_back_as_it_was() -> None:
    table = Packed()
    for number in range(3_000):
        table.put(key(number * 7), b"%d" % number)

    sizes, buckets = table.packed()
    again = Packed.restored(sizes, b"".join(buckets), len(table))

    for one in (table, again):
        assert [list(one.of(key(number * 7))) for number in range(3_000)] == [[b"%d" % n] for n in range(3_000)]
        assert list(one.of(key(5))) == []
    again.put(key(5), b"more")
    assert (list(again.of(key(5))), len(again), len(table)) == ([b"more"], 3_001, 3_000)


def test_many_values_may_share_a_key() -> None:
    table = Packed()
    for number in range(5):
        table.put(key(1), b"%d" % number)

    assert list(table.of(key(1))) == [b"0", b"1", b"2", b"3", b"4"]
    assert (table.many(key(1), 5), table.many(key(1), 6)) == (True, False)


@pytest.mark.parametrize(("name", "value"), [(b"short", b""), (key(1), bytes(MOST_BYTES + 1))])
def test_what_has_no_place_is_refused(name: bytes, value: bytes) -> None:
    table = Packed()

    with pytest.raises(ValueError, match="a key has 8 bytes, a value at most 65535"):
        table.put(name, value)
    assert len(table) == 0


def test_the_longest_value_comes_back() -> None:
    table = Packed()
    table.put(key(1), bytes(MOST_BYTES))
    table.put(key(1), b"next")

    assert list(table.of(key(1))) == [bytes(MOST_BYTES), b"next"]


def test_blocks_that_do_not_fit_each_other_are_refused() -> None:
    table = Packed()
    table.put(key(1), b"one")
    sizes, buckets = table.packed()
    content = b"".join(buckets)

    with pytest.raises(ValueError, match="do not add up"):
        Packed.restored(sizes, content + b"x", 1)
    with pytest.raises(ValueError, match="do not add up"):
        Packed.restored(b"", b"", 0)

"""Bounds of what compressed batches become: never below the truth, and no bomb is unpacked to find out."""

import gzip
import random
import tracemalloc
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import codec
from hypothesis import given
from hypothesis import strategies as some

from topics.compressed import UNREADABLE, most_bytes

LIMIT = 16 * 1024 * 1024
CODECS: dict[str, tuple[int, Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "gzip": (1, codec.gzip_encode, codec.gzip_decode),
    "snappy in blocks": (2, codec.snappy_encode, codec.snappy_decode),
    "snappy": (2, lambda one: codec.snappy_encode(one, xerial_compatible=False), codec.snappy_decode),
    "lz4": (3, codec.lz4_encode, codec.lz4_decode),
    "lz4 in linked blocks": (3, lambda one: bytes(cramjam.lz4.compress(one)), codec.lz4_decode),
    "zstd": (4, codec.zstd_encode, codec.zstd_decode),
}


@pytest.mark.parametrize("name", CODECS)
@given(data=some.one_of(some.binary(min_size=1, max_size=3_000), some.integers(1, 700_000).map(bytes)))
def test_bound_holds_for_whatever_was_compressed(name: str, data: bytes) -> None:
    number, encode, decode = CODECS[name]
    packed = encode(data)
    assert decode(packed) == data
    assert most_bytes(number, memoryview(packed), LIMIT) >= len(data)


@pytest.mark.parametrize("name", CODECS)
def test_bound_of_an_ordinary_batch_is_far_below_the_limit(name: str) -> None:
    number, encode, _ = CODECS[name]
    words = random.Random(4).choices([b"order", b"customer", b"4711", b'{"id":', b"}"], k=30_000)
    data = b",".join(words)
    assert most_bytes(number, memoryview(encode(data)), LIMIT) <= LIMIT // 4


@pytest.mark.parametrize("name", CODECS)
def test_bomb_is_found_out_without_unpacking_it(name: str) -> None:
    number, encode, _ = CODECS[name]
    bomb = memoryview(encode(bytes(20 * LIMIT)))
    tracemalloc.start()
    try:
        assert most_bytes(number, bomb, LIMIT) > LIMIT
        assert tracemalloc.get_traced_memory()[1] < LIMIT // 2
    finally:
        tracemalloc.stop()


def test_streams_one_after_the_other_count_together() -> None:
    packed = gzip.compress(bytes(1_000)) + gzip.compress(bytes(500))
    assert most_bytes(1, memoryview(packed), LIMIT) == 1_500


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7])
@given(data=some.binary(max_size=200))
def test_what_is_not_compressed_has_no_size_or_any(number: int, data: bytes) -> None:
    try:
        assert most_bytes(number, memoryview(data), LIMIT) >= 0
    except UNREADABLE:
        pass


@pytest.mark.parametrize("name", CODECS)
@given(cut=some.integers(1, 60))
def test_damage_ends_in_an_error_or_a_bound(name: str, cut: int) -> None:
    number, encode, _ = CODECS[name]
    packed = encode(b"some text that is compressed " * 9)
    try:
        assert most_bytes(number, memoryview(packed)[:-cut], LIMIT) >= 0
    except UNREADABLE:
        pass

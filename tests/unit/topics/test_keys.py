import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from topics import keys
from topics.codec import decode
from topics.envelope import Envelope
from topics.fields import valid_traceparent


def event(value: bytes, key: bytes | None = None, partition: int = 5) -> Envelope:
    return decode(value, key, [], partition=partition, offset=17, timestamp_ms=0, max_bytes=None)


@pytest.mark.parametrize(
    ("key", "signed"),
    [  # from org.apache.kafka.common.utils.UtilsTest
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_equals_javas_known_vectors(key: bytes, signed: int) -> None:
    assert keys.murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_murmur2_equals_aiokafkas_for_any_bytes(key: bytes) -> None:
    assert keys.murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(min_size=1, max_size=64), st.integers(1, 300))
def test_a_key_goes_to_the_partition_that_aiokafkas_producer_chooses(key: bytes, count: int) -> None:
    everything = list(range(count))
    assert keys.partition_of(key, count) == DefaultPartitioner()(key, everything, everything)


def test_the_home_is_that_of_the_key_else_of_the_explicit_id_else_where_it_landed() -> None:
    both = event(b'{"topic": "a", "data": 1, "id": "o-1", "key": "k\xc3\xa4"}')
    only_id = event(b'{"topic": "a", "data": 1, "id": "o-1"}')
    neither = event(b'{"topic": "a", "data": 1}')
    assert keys.home_of(both, 32) == keys.partition_of("kä".encode(), 32) == keys.home("kä", "o-1", 32)
    assert keys.home_of(only_id, 32) == keys.partition_of(b"o-1", 32) == keys.home(None, "o-1", 32)
    assert keys.home_of(neither, 32) == 5
    assert keys.home(None, None, 32) is None


def test_a_key_in_the_record_has_the_same_home_as_one_in_the_body() -> None:
    in_record = event(b'{"topic": "a", "data": 1}', b"customer-7", partition=1)
    in_body = event(b'{"topic": "a", "data": 1, "key": "customer-7"}', None, partition=2)
    assert keys.home_of(in_record, 8) == keys.home_of(in_body, 8)


texts = st.text(st.characters(codec="utf-8"), max_size=6) | st.sampled_from(["1", "11", ",", "-", "@", "1,1,"])
identities = st.tuples(texts, st.none() | texts, texts, st.booleans())


@given(identities, identities)
def test_two_events_share_a_digest_only_if_source_key_and_id_are_equal(
    one: tuple[str, str | None, str, bool], other: tuple[str, str | None, str, bool]
) -> None:
    digests = [keys.event_digest(*identity[:3], explicit=identity[3]) for identity in (one, other)]
    assert [len(digest) for digest in digests] == [keys.DIGEST_BYTES] * 2
    assert (digests[0] == digests[1]) == (one == other)


@given(identities)
def test_the_digest_of_an_event_is_that_of_its_source_key_and_id(identity: tuple[str, str | None, str, bool]) -> None:
    source, key, event_id, explicit = identity
    one = event(b'{"topic": "a", "data": 1}')._replace(source=source, key=key, id=event_id, explicit=explicit)
    assert keys.digest_of(one) == keys.event_digest(source, key, event_id, explicit=explicit)


def test_an_id_that_looks_like_one_of_ours_is_another_event() -> None:
    ours = event(b'{"topic": "a", "data": 1}')
    imitated = event(b'{"topic": "a", "data": 1, "id": "5-17"}')
    assert ours.id == imitated.id
    assert keys.digest_of(ours) != keys.digest_of(imitated)


def test_the_digest_is_the_same_for_ever() -> None:
    """Journals of earlier releases hold digests: this one may never change."""
    assert keys.event_digest("/shop", "customer-7", "o-1").hex() == "abb7bca9dfad479096941d0c"


def test_a_run_is_named_after_workflow_and_event() -> None:
    digest = keys.event_digest("", None, "o-1")
    assert keys.run_id("charge", digest) == f"charge:{digest.hex()}"
    assert len(digest.hex()) == 24


def test_the_id_of_a_published_event_is_derived_and_never_too_long() -> None:
    assert keys.published_event_id("w:00", "announce") == "w:00:announce"
    long = [keys.published_event_id("w:00", "x" * 600 + end) for end in "ab"]
    assert max(map(len, long)) <= 512
    assert long[0] != long[1]


def test_a_traceparent_stays_in_its_parents_trace_and_is_valid() -> None:
    digest = keys.event_digest("", None, "o-1").hex()
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    child = keys.traceparent_of(parent, digest)
    assert child == f"00-0af7651916cd43dd8448eb211c80319c-{digest[:16]}-00"
    first = keys.traceparent_of(None, digest)
    assert valid_traceparent(child) == child
    assert valid_traceparent(first) == first


def test_the_id_of_a_run_is_known_by_its_form() -> None:
    run = keys.run_id("charge-2.0_x", b"\x01" * 12)
    assert keys.is_run_id(run)
    for other in ("", "charge", "charge:1", run + "0", run + "\n", " " + run, "a/b:" + "0" * 24, ":" + "0" * 24):
        assert not keys.is_run_id(other)


def test_the_event_of_a_child_has_an_id_that_no_published_event_has() -> None:
    run = keys.run_id("charge", b"\x01" * 12)
    assert keys.child_event_id(run, "pay", 3) == f"{run}#3:pay"
    assert keys.failure_event_id(run) == f"{run}#failed"
    long = [keys.child_event_id(run, "k" * 600, n) for n in (0, 1)]
    assert len({*long}) == 2
    assert all(len(one) <= 512 for one in long)


@pytest.mark.parametrize(
    ("text", "is_one"), [("a", True), ("a.b-c_1", True), ("", False), (".a", False), ("a\n", False)]
)
def test_what_a_workflow_may_be_called(text: str, is_one: bool) -> None:
    assert keys.is_workflow_id(text) is is_one

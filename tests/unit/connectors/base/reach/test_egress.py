"""Which addresses may be reached: hosts in all their spellings, and what the policy says of what they lead to."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Lookup, Policy, is_public, literal_address, plain_host

listed = str.split


def answering(*addresses: str) -> Lookup:
    async def lookup(host: str, port: int) -> Sequence[str]:
        return addresses

    return lookup


async def no_name(host: str, port: int) -> Sequence[str]:
    raise AssertionError(f"{host} was looked up")


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("ⓔⓧⓐⓜⓟⓛⓔ.ⓒⓞⓜ", "example.com"),
        ("example。com", "example.com"),
        ("example.com", "example.com"),
        ("a_b.example", "a_b.example"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("①②⑦.⓪.⓪.①", "127.0.0.1"),
    ],
)
def test_a_host_has_one_plain_form(written: str, host: str) -> None:
    assert host == plain_host(written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "example.com..",
        "a..b",
        "a b",
        "a\tb",
        "a\x00b",
        "a\r\nb",
        "user@example.com",
        "a%2eb",
        "a/b",
        "a\\b",
        "a#b",
        "a?b",
        "-a.example",
        "[example.com]",
        "[::1",
        "::1]",
        "fe80::1%eth0",
        "[fe80::1%25eth0]",
        "1::2::3",
        "example.com:80",
        "x" * 64 + ".example",
        "a." * 127 + "example",
        "\udc80",
        "\u202eexample",
    ],
)
async def test_what_is_no_host_is_refused_without_looking_it_up(written: str) -> None:
    with pytest.raises(Refused) as caught:
        await Policy(lookup=no_name).resolve(written, 80)

    assert "invalid_host" == caught.value.reason


@pytest.mark.parametrize(
    "written",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "0X7F.0.0.0x1",
        "127.0.0.1.",
    ],
)
async def test_old_forms_of_an_address_are_that_address(written: str) -> None:
    with pytest.raises(Refused, match=r"the address 127\.0\.0\.1 is not public") as caught:
        await Policy(lookup=no_name).resolve(written, 80)

    assert "forbidden_address" == caught.value.reason
    assert "connectors.allow" in str(caught.value)


@pytest.mark.parametrize("written", ["256.1.1.1", "1.2.3.4.5", "4294967296", "example.1", "a.0x1"])
def test_a_host_that_ends_in_a_number_is_an_address_or_nothing(written: str) -> None:
    with pytest.raises(Refused, match="ends in a number"):
        literal_address(written)


@pytest.mark.parametrize("written", ["0177.0.0.1", "017700000001", "0127.0.0.1", "127.0.0.08", "1.2.3.010", "08.8.8.8"])
def test_what_is_octal_to_some_and_decimal_to_others_is_refused(written: str) -> None:
    with pytest.raises(Refused):
        literal_address(written)


@pytest.mark.parametrize(
    "address",
    listed(
        """0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 100.100.100.200 127.0.0.1
    127.255.255.255
    168.63.129.16 169.254.0.0 169.254.169.254 169.254.255.255 172.16.0.0 172.31.255.255 192.0.0.0 192.0.0.192 192.0.2.1
    192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255
    240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b:1::808:808 100::1 1fff::1 2001::1 2001:0:a:b::1 2001:2::1 2001:20::1 2001:db8::1
    2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fec0::1 ff02::1
    ffff::1"""
    ),
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    listed(
        """1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.15
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255
    198.20.0.0 223.255.255.255 2001:200:: 2001:4860:4860::8888 2606:4700::1111 2a00::1 3ffe::1 64:ff9b::808:808
    ::ffff:8.8.8.8"""
    ),
)
def test_their_neighbours_are_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses())
def test_what_the_standard_library_calls_special_is_never_public(address: IPv4Address | IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None

    assert not is_public(address) or (mapped or address).is_global


async def test_all_addresses_of_a_name_are_checked_and_returned() -> None:
    policy = Policy(lookup=answering("1.1.1.1", "2606:4700::1111", "1.1.1.1"))

    assert [("1.1.1.1", 443), ("2606:4700::1111", 443)] == await policy.resolve("example.com", 443)


@pytest.mark.parametrize("position", [0, 1, 2])
async def test_one_forbidden_address_among_good_ones_is_enough_to_refuse(position: int) -> None:
    addresses = ["1.1.1.1", "2606:4700::1111"]
    addresses.insert(position, "169.254.169.254")

    with pytest.raises(Refused, match=r"example\.com has the address 169\.254\.169\.254") as caught:
        await Policy(lookup=answering(*addresses)).resolve("example.com", 80)

    assert "forbidden_address" == caught.value.reason


async def test_a_mapped_address_is_connected_as_what_it_maps() -> None:
    assert [("8.8.8.8", 80)] == await Policy(lookup=answering("::ffff:8.8.8.8")).resolve("example.com", 80)


async def test_an_answer_with_a_zone_is_link_local_and_refused() -> None:
    with pytest.raises(Refused):
        await Policy(lookup=answering("fe80::1%eth0")).resolve("example.com", 80)


async def test_a_name_without_addresses_is_not_connected() -> None:
    async def fails(host: str, port: int) -> Sequence[str]:
        raise OSError("Name or service not known")

    for lookup in (fails, answering()):
        with pytest.raises(NotConnected, match=r"example\.com has no address") as caught:
            await Policy(lookup=lookup).resolve("example.com", 80)
        assert "dns" == caught.value.reason


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("*", "127.0.0.1", 80),
        ("*", "inside.example", 80),
        ("127.0.0.0/8", "127.9.9.9", 80),
        ("127.0.0.0/8", "::ffff:127.9.9.9", 80),
        ("10.0.0.0/8", "inside.example", 80),
        ("10.1.2.3", "inside.example", 80),
        ("Inside.Example.", "inside.example", 80),
        ("inside.example:80", "INSIDE.example.", 80),
        ("10.1.2.3:80", "inside.example", 80),
        ("[::1]:80", "::1", 80),
        ("::1", "[::1]", 80),
        ("fd00::/8", "fd00::5", 80),
    ],
)
async def test_what_is_allowed_may_be_reached(entry: str, host: str, port: int) -> None:
    assert await Policy(allowed=(entry,), lookup=answering("10.1.2.3")).resolve(host, port)


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("127.0.0.0/8", "::1", 80),
        ("10.0.0.0/9", "10.200.0.1", 80),
        ("inside.example:81", "inside.example", 80),
        ("inside.example", "10.1.2.3", 80),
        ("inside.example", "sub.inside.example", 80),
        ("10.1.2.3:81", "inside.example", 80),
        ("[::1]:80", "::1", 81),
        ("127.0.0.0/8", "64:ff9b::7f00:1", 80),
    ],
)
async def test_what_is_beside_that_may_not(entry: str, host: str, port: int) -> None:
    with pytest.raises(Refused):
        await Policy(allowed=(entry,), lookup=answering("10.1.2.3")).resolve(host, port)


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "a b", "x:y", "http://inside.example", "1.2.3.4.5", "[::1]:x"])
def test_an_entry_that_cannot_be_read_is_an_error_with_what_is_accepted(entry: str) -> None:
    with pytest.raises(ValueError, match=r"is none of networks such as 10\.0\.0\.0/8"):
        Policy(allowed=(entry,))


async def test_errors_show_no_credentials() -> None:
    with pytest.raises(Refused) as caught:
        await Policy().resolve("user:s3cret@127.0.0.1", 80)

    assert "s3cret" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_host_escapes_as_an_unexpected_error(written: str) -> None:
    try:
        host = plain_host(written)
        literal_address(host)
    except Refused:
        return
    assert host == plain_host(host)


async def test_the_system_is_asked_when_nothing_else_is_said() -> None:
    assert ("127.0.0.1", 80) in await Policy(allowed=("localhost",)).resolve("localhost", 80)

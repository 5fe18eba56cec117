"""Which addresses may be reached: every address of a name is checked, and the checked ones are those to connect to.

Public addresses may be reached; loopback, private, link-local, metadata and other special ones only where the setting
`connectors.allow` names them. The ranges are those of the IANA special-purpose registries (RFC 6890), written out
because the `ipaddress` of older Pythons has gaps; of IPv6 only what is global unicast is public (RFC 4291).
"""

import asyncio
import re
import socket
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from connectors.base.contract import NotConnected, Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Names the addresses of a host. Raises OSError when it has none."""

_FORBIDDEN_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # carrier-grade NAT, Alibaba's metadata among it
            "127.0.0.0/8",
            "168.63.129.16/32",  # Azure's host, from inside a machine there
            "169.254.0.0/16",  # link-local, metadata of most clouds
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments, Oracle's metadata among them
            "192.0.2.0/24",
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
_FORBIDDEN_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarking
            "2001:db8::/32",
            "2002::/16",  # 6to4
            "3fff::/20",
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")

_DOTS: Final = str.maketrans("\u3002\uff0e\uff61\u2024", "....")
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*", re.ASCII)
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)
_REMEDY: Final = "if it is to be reached, name it in the setting connectors.allow"


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Allowed:
    """What one entry of the setting allows; None is any."""

    network: Network | None = None
    name: str | None = None
    port: int | None = None

    def covers(self, name: str | None, address: Address, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.name is not None:
            return self.name == name
        return self.network is None or (address.version == self.network.version and address in self.network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may be reached beside public addresses.

    `allowed` has networks (`10.0.0.0/8`, `fd00::/8`), addresses and host names, each also with a port
    (`broker.internal:6379`, `[::1]:80`), or `*` for everything. Raises ValueError for anything else.
    """

    allowed: Sequence[str] = ()
    lookup: Lookup = system_lookup
    _entries: tuple[_Allowed, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "allowed", tuple(self.allowed))
        object.__setattr__(self, "_entries", tuple(_entry(text) for text in self.allowed))

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        """Return the addresses of a host, all of which may be reached.

        Raises Refused when one of them may not, or when it is no host; NotConnected when there is none.
        """
        name = plain_host(host)
        literal = literal_address(name)
        if literal is not None:
            found: Sequence[Address] = [literal]
        else:
            found = await self._look_up(name, port)
        for address in found:
            self._check(None if literal is not None else name, address, port)
        return [(str(address), port) for address in found]

    def permits(self, host: str, address: Address, port: int) -> bool:
        """Tell whether this address, found for a host, may be reached."""
        if is_public(address):
            return True
        return any(entry.covers(host, address, port) for entry in self._entries)

    def _check(self, name: str | None, address: Address, port: int) -> None:
        if not self.permits(name or "", address, port):
            which = f"{name} has the address {address}, which" if name else f"the address {address}"
            message = f"{which} is not public (port {port}) and is not allowed; {_REMEDY}"
            raise Refused(message, reason="forbidden_address")

    async def _look_up(self, name: str, port: int) -> Sequence[Address]:
        try:
            texts = await self.lookup(name, port)
        except (OSError, UnicodeError) as error:
            message = f"{name} has no address ({error}); check the name and the resolver"
            raise NotConnected(message, reason="dns") from error
        found = dict.fromkeys(_unwrapped(ip_address(text.partition("%")[0])) for text in texts)
        if not found:
            raise NotConnected(f"{name} has no address; check the name and the resolver", reason="dns")
        return list(found)


def plain_host(host: str) -> str:
    """Return a host as it is looked up: lower case, ASCII, without brackets and final dot. Raises Refused."""
    text = unicodedata.normalize("NFKC", host.translate(_DOTS)).translate(_DOTS).lower()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            raise _no_host(host, "only an IPv6 address stands in brackets")
    if ":" in text:
        if "%" in text:
            raise _no_host(host, "an address with a zone is of this machine's links alone")
        try:
            return str(IPv6Address(text))
        except ValueError as error:
            raise _no_host(host, "it is no IPv6 address") from error
    text = text.removesuffix(".")
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise _no_host(host, "it cannot be written as an internationalised name") from error
    if len(text) > 253 or _NAME.fullmatch(text) is None or any(len(label) > 63 for label in text.split(".")):
        raise _no_host(host, "a name has letters, digits, hyphens and dots")
    return text


def literal_address(host: str) -> Address | None:
    """Return the address that a plain host is, in any form that some resolver accepts; None when it is a name.

    Like WHATWG's host parser, a host whose last label is a number is an IPv4 address or invalid: then Refused.
    """
    if ":" in host:
        return _unwrapped(IPv6Address(host))
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]) is None:
        return None
    if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)):
        raise _no_host(host, "it ends in a number and is no IPv4 address")
    if any(label.isdigit() and label[0] == "0" and int(label) > 7 for label in labels):
        raise _no_host(host, "a number that begins with 0 is octal to some and decimal to others")
    try:
        return IPv4Address(socket.inet_aton(".".join("0x0" if label == "0x" else label for label in labels)))
    except OSError as error:
        raise _no_host(host, "it ends in a number and is no IPv4 address") from error


def is_public(address: Address) -> bool:
    """Tell whether an address is in the public internet; of one that carries an IPv4 address, that is asked as well."""
    address = _unwrapped(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _PUBLIC_V6 and not any(address in network for network in _FORBIDDEN_V6)


def _unwrapped(address: Address) -> Address:
    """An IPv4-mapped address is that IPv4 address: it is what gets connected."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _no_host(host: str, why: str) -> Refused:
    shown = host.rpartition("@")[2][:100]
    return Refused(f"{shown!r} is no host: {why}", reason="invalid_host")


def _entry(text: str) -> _Allowed:
    given = text.strip().lower()
    if given == "*":
        return _Allowed()
    try:
        return _Allowed(network=ip_network(given.strip("[]")))
    except ValueError:
        pass
    host, colon, port_text = given.rpartition(":") if ":" in given else (given, "", "")
    try:
        port = int(port_text) if colon else None
        name = plain_host(host)
        literal = literal_address(name)
    except (ValueError, Refused) as error:
        message = f"{text!r} is none of networks such as 10.0.0.0/8, host names, host:port, or * for all"
        raise ValueError(message) from error
    if literal is not None:
        return _Allowed(network=ip_network(literal), port=port)
    return _Allowed(name=name, port=port)

"""URLs that lead to where nothing may connect, in the spellings by which filters have been fooled.

`listed.json` has those that were seen in the wild or published by those who look for such holes; the others are made
here: each special address in each form that some parser or resolver understands, dressed up in some more ways. `NAMES`
says what the names among them resolve to; a name that is not there resolves to the metadata service.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import cycle
from pathlib import Path
from typing import Final

PUBLIC: Final = "93.184.215.14"
NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "example.com": (PUBLIC,),
    "mixed.example": (PUBLIC, "10.0.0.1"),
    "mixed6.example": (PUBLIC, "2606:4700::1111", "fd00:ec2::254"),
    "mapped.example": ("::ffff:169.254.169.254",),
    "nat64.example": ("64:ff9b::a9fe:a9fe",),
    "sixtofour.example": ("2002:7f00:1::1",),
    "zone.example": ("fe80::1%eth0",),
    "zero.example": ("0.0.0.0",),
    "zero6.example": ("::",),
    "localhost": ("127.0.0.1", "::1"),
}
ANY_NAME: Final = ("169.254.169.254",)

V4: Final = tuple(
    map(
        IPv4Address,
        [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.254",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.0.0.2",
            "127.127.127.127",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.1",
            "172.31.255.254",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "192.168.255.254",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
        ],
    )
)
V6: Final = tuple(
    map(
        IPv6Address,
        [
            "::",
            "::1",
            "::2",
            "100::1",
            "2001::",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fdff:ffff::1",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "fec0::1",
            "febf::1",
            "ff01::1",
            "ff02::1",
            "ff0e::1",
            "64:ff9b:1::1",
            "4000::1",
            "fe00::1",
        ],
    )
)


def v4_forms(address: IPv4Address) -> Iterator[str]:
    """Yield how an IPv4 address can be written as a host."""
    number = int(address)
    a, b, c, d = address.packed
    dotted, high, low = f"{a}.{b}.{c}.{d}", number >> 16, number & 0xFFFF
    yield dotted
    yield f"{dotted}."
    yield str(number)
    yield f"0x{number:x}"
    yield f"0X{number:08X}"
    yield f"0{number:o}"
    yield f"000000{number:o}"
    yield f"{a}.{number & 0xFF_FFFF}"
    yield f"{a}.{b}.{low}"
    yield f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"
    yield f"0x000000{a:x}.{b}.{c}.{d}"
    yield f"0{a:o}.0{b:o}.0{c:o}.0{d:o}"
    yield f"0000{a:o}.000{b:o}.00{c:o}.0{d:o}"
    yield f"0x{a:x}.0{b:o}.{low}"
    yield f"0{a:o}.0x{number & 0xFF_FFFF:x}"
    yield f"{a + 256}.{b + 256}.{c + 256}.{d + 256}"
    yield str(number + (1 << 32))
    yield f"0o{a:o}.0o{b:o}.0o{c:o}.0o{d:o}"
    for dot in "\u3002\uff0e\uff61\u2024":
        yield dotted.replace(".", dot)
    for zero in "\uff10\u0660\u0e50\U0001d7ce":
        yield "".join(chr(ord(zero) + int(sign)) if sign.isdigit() else sign for sign in dotted)
    yield "".join(_circled(sign) for sign in dotted)
    yield "".join(f"%{ord(sign):02x}" for sign in dotted)
    yield "".join(f"%25{ord(sign):02x}" for sign in dotted)
    yield dotted.replace(".", "%2e")
    yield dotted.replace(".", "%E3%80%82")
    yield f"[::ffff:{dotted}]"
    yield f"[::ffff:{high:x}:{low:x}]"
    yield f"[0:0:0:0:0:ffff:{dotted}]"
    yield f"[0000:0000:0000:0000:0000:ffff:{high:04x}:{low:04x}]"
    yield f"[::FFFF:{high:X}:{low:X}]"
    yield f"[::ffff:0:{dotted}]"
    yield f"[::{dotted}]"
    yield f"[64:ff9b::{dotted}]"
    yield f"[64:ff9b::{high:x}:{low:x}]"
    yield f"[64:ff9b:1::{dotted}]"
    yield f"[2002:{high:x}:{low:x}::1]"
    yield f"[2001:0:{high:x}:{low:x}:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"
    yield f"[fe80::5efe:{dotted}]"
    yield f"[{dotted}]"
    yield f"{dotted}.nip.io"
    yield f"www.{dotted.replace('.', '-')}.sslip.io"


def v6_forms(address: IPv6Address) -> Iterator[str]:
    """Yield how an IPv6 address can be written as a host."""
    yield f"[{address}]"
    yield f"[{address.exploded}]"
    yield f"[{address.exploded.upper()}]"
    yield f"[{':'.join(f'{int(part, 16):x}' for part in address.exploded.split(':'))}]"
    yield f"[{address}%25eth0]"
    yield f"[{address}%eth0]"
    yield f"[{address}%251]"
    yield f"[{address}%25]"
    yield str(address)
    yield f"%5b{address}%5d"


def _circled(sign: str) -> str:
    if sign == "0":
        return "\u24ea"
    return chr(0x2460 + int(sign) - 1) if sign.isdigit() else sign


DRESSES: Final[tuple[Callable[[str], str], ...]] = (
    lambda host: f"http://{host}:8080/latest/meta-data/",
    lambda host: f"https://{host}/",
    lambda host: f"http://example.com@{host}/",
    lambda host: f"http://example.com:80@{host}:80/",
    lambda host: f"http://user:pass%40word@{host}/?url=http://example.com/",
    lambda host: f"http://{host}#@example.com/",
    lambda host: f"http://{host}?@example.com/",
    lambda host: f"http://{host}/@example.com/",
    lambda host: f"HTTP://{host}/#example.com",
    lambda host: f"http:\\\\{host}\\",
    lambda host: f"http://{host}\\@example.com/",
    lambda host: f"http://example.com\\@{host}/",
    lambda host: f"http://example.com#\\@{host}/",
    lambda host: f"http://{host}:80:80/",
    lambda host: f"http:///{host}/",
    lambda host: f"http:{host}/",
    lambda host: f"http:/{host}/",
    lambda host: f"//{host}/",
    lambda host: f" http://{host}/ ",
    lambda host: f"ht\ttp://{host}/",
    lambda host: f"http://\t{host}/",
    lambda host: f"http://{host}\n/",
    lambda host: f"http://{host}\r\nHost: example.com/",
    lambda host: f"http://{host}%00.example.com/",
    lambda host: f"http://{host}\x00.example.com/",
    lambda host: f"http://{host}%20/",
    lambda host: f"http://{host}:080/",
    lambda host: f"http://{host}:+80/",
    lambda host: f"http://{host}:80aaa/",
    lambda host: f"http://{host}:/",
    lambda host: f"http://\u00ad{host}/",
    lambda host: f"http://{host}\u200b/",
    lambda host: f"http://\ufeff{host}/",
    lambda host: f"ws://{host}/",
    lambda host: f"wss://{host}/",
)
SCHEMES: Final = [
    "file",
    "dict",
    "gopher",
    "ftp",
    "ftps",
    "sftp",
    "tftp",
    "ldap",
    "ldaps",
    "jar",
    "netdoc",
    "php",
    "phar",
    "data",
    "javascript",
    "blob",
    "about",
    "view-source",
    "ssh",
    "telnet",
    "smtp",
    "imap",
    "rtsp",
    "redis",
    "mysql",
    "postgres",
    "unix",
    "http+unix",
    "expect",
    "glob",
    "zip",
    "ogg",
    "s3",
    "gs",
    "chrome",
    "feed",
    "httpx",
    "shttp",
]


def all_urls() -> list[str]:
    """Return all of them, each once."""
    found: dict[str, None] = {}
    dresses = cycle(DRESSES)
    hosts = [*(form for one in V4 for form in v4_forms(one)), *(form for one in V6 for form in v6_forms(one))]
    for host in [*hosts, *(name for name in NAMES if name != "example.com")]:
        found[f"http://{host}/"] = None
        found[next(dresses)(host)] = None
    for dress in DRESSES:
        for host in ("127.0.0.1", "169.254.169.254", "[::1]", "localhost", "2130706433", "[::ffff:7f00:1]"):
            found[dress(host)] = None
    for scheme in SCHEMES:
        for rest in ("//127.0.0.1:6379/x", "//localhost/", "///etc/passwd", "http://127.0.0.1/", "//[::1]:25/_HELO"):
            found[f"{scheme}:{rest}"] = None
    listed = json.loads((Path(__file__).parent / "listed.json").read_text(encoding="utf-8"))
    found.update(dict.fromkeys(listed["urls"]))
    return list(found)


ALL: Final = tuple(all_urls())

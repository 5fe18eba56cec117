"""Makes hostile inputs of good ones: cut, repeated, spliced, of wrong types, nested too deep, huge, no UTF-8.

Everything comes from one `random.Random`, so the same seed makes the same inputs.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import orjson

One = TypeVar("One")

NUMBERS: Final = (
    *(0, 1, -1, 2, 7, 60, 255, 1000, 65_536, 2**31 - 1, 2**31, 2**32, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64),
    *(-(2**63), -(2**63) - 1, 10**12, 10**15, 253_402_300_799, 253_402_300_800, 62_135_596_800, -62_135_596_801),
    *(1.5, -0.0, 0.1, 1e-320, 1e15, 1e16, 1e18, 1e300, 1.7976931348623157e308, -1e300),
)
TEXTS: Final = (
    *("", " ", "0", "1", "-1", "01", "+1", "1.5", "1e999", "9" * 25, "9" * 5000, "null", "true", "\u0663", "²"),
    *(
        "\x00",
        "\n",
        "\r\n",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ufffe",
        "\udc80",
        "\ud83d",
        "é",
        "你好",
        "😀",
        "a\u0301",
    ),
    *(
        "x" * 300,
        "é" * 600,
        "/",
        "..",
        "a/b",
        "*",
        "**",
        "{{ data }}",
        "{{",
        "}}",
        "{{ data.a.b.c }}",
        "$",
        "%00",
        "%ff",
        "%",
    ),
    *("2026-06-01T12:00:00Z", "2026-06-01", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026-W01-1"),
    *(
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T24:00:00Z",
        "2026-06-01T12:00:60Z",
        "20260601T120000",
        "0000-00-00T00:00:00Z",
    ),
    *(
        "http://a.example/",
        "https://u:p@[::1]:99999/x?y#z",
        "http://[",
        "//b.example",
        "javascript:x",
        "http://a.example:x/",
    ),
    *("PT1H", "1h30m", "90s", "1e3s", "@daily", "* * * * *", "Europe/Berlin", "../../etc", "arn:aws:sns:x:1:y"),
    *("id", "type", "data", "event", "message", "items", "__class__", "a.b", "a" * 40 + "." * 40),
)
_DEEP: Final = "\x01deep\x01"
_PLACES_OF_DEEP: Final = (json.dumps(_DEEP).encode(), orjson.dumps(_DEEP))
RAWS: Final = (
    *(b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\x0b", b"\x0c", b"\x1c", b" ", b"\t", b":", b": ", b",", b";", b"="),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b"'",
        b"<",
        b">",
        b"&",
        b"%",
        b"\\u",
        b"\\ud800",
        b"\\u0000",
        b"#",
        b"!",
        b"*",
    ),
    *(b"null", b"true", b"1e999", b"-0", b"1.", b"9" * 30, b"9" * 5000, b"NaN", b"Infinity", b"0x1", b"-", b"e5"),
    *(
        b"[" * 300,
        b'{"a":' * 300,
        b"[" * 2000,
        b"x" * 5000,
        b"\xff\xfe",
        b"a=b&",
        b"<!DOCTYPE x>",
        b"&#xD800;",
        b"<![CDATA[",
    ),
)


def nested(depth: int) -> Any:
    """Lists and objects within each other."""
    found: Any = 1
    for level in range(depth):
        found = {"a": found} if level % 2 else [found]
    return found


SHAPES: Final[tuple[Any, ...]] = (
    *([], {}, [[]], [None], {"": None}, [1, "a", None, True], {"id": 1}, {"id": None, "type": [], "data": {"a": [{}]}}),
    *(
        [[["x"]]],
        {"a": {"b": {"c": 1}}},
        ["x"] * 50,
        nested(30),
        nested(198),
        nested(230),
        {f"n{n}": n for n in range(40)},
    ),
)
SCALARS: Final[tuple[Any, ...]] = (None, True, False)


class Mutator:
    """Makes inputs. `chance` is what it draws from; targets may draw from it as well."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._random = chance.random

    # ---- drawing ---------------------------------------------------------------------------------------------------

    def below(self, most: int) -> int:
        """A number of 0 to most - 1, faster than randrange."""
        return int(self._random() * most)

    def pick(self, among: Sequence[One]) -> One:
        return among[int(self._random() * len(among))]

    def happens(self, share: float) -> bool:
        return self._random() < share

    def number(self) -> Any:
        """A number of any size."""
        kind = self.below(4)
        if kind == 0:
            return self.pick(NUMBERS)
        if kind == 1:
            return self.chance.getrandbits(1 + self.below(70)) * self.pick((1, -1))
        return self.below(100) if kind == 2 else self._random() * 10.0 ** (self.below(40) - 20)

    def anything(self) -> Any:
        """Any JSON, small most of the time."""
        kind = self.below(10)
        if kind < 3:
            return self.number()
        if kind < 7:
            return self.pick(TEXTS)
        return self.pick(SCALARS) if kind < 8 else self.pick(SHAPES)

    # ---- bytes -----------------------------------------------------------------------------------------------------

    def raw(self, seeds: Sequence[bytes], words: Sequence[bytes] = RAWS, *, most: int = 4) -> bytes:
        """One of the seeds after some changes, none at times. `words` is what is put in."""
        found = self.pick(seeds)
        for _ in range(self.below(most + 1)):
            found = self._raw_step(found, seeds, words)
        return found

    def _raw_step(self, value: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
        size = len(value)
        at = self.below(size + 1)
        match self.below(10):
            case 0 if size:  # a bit
                return value[:-1] + bytes([value[-1] ^ 1]) if at == size else self._flipped(value, at)
            case 1 if size:  # a byte
                return b"%b%c%b" % (value[:at], self.below(256), value[at + 1 :])
            case 2:  # cut off
                return value[:at]
            case 3:  # a part is gone
                return value[:at] + value[at + 1 + self.below(20) :]
            case 4:  # a part comes again, often at times
                part = value[at : at + 1 + self.below(30)]
                return value[:at] + part * self.pick((2, 2, 2, 3, 50)) + value[at + len(part) :]
            case 5:  # a part of another one
                other = self.pick(seeds)
                begin = self.below(len(other) + 1)
                return value[:at] + other[begin : begin + self.below(60)] + value[at + self.below(20) :]
            case 6:  # two of them
                return value + self.pick(seeds)
            case _:
                return value[:at] + self.pick(words) + value[at + self.below(3) :]

    def _flipped(self, value: bytes, at: int) -> bytes:
        return b"%b%c%b" % (value[:at], value[at] ^ (1 << self.below(8)), value[at + 1 :])

    def pieces(self, value: bytes) -> list[bytes]:
        """Cut into pieces as a network does, empty ones among them."""
        count = self.pick((1, 1, 2, 3, 8, 30))
        ends = sorted(self.below(len(value) + 1) for _ in range(count - 1))
        return [value[begin:end] for begin, end in zip([0, *ends], [*ends, len(value)], strict=True)]

    # ---- text ------------------------------------------------------------------------------------------------------

    def text(self, seeds: Sequence[str], words: Sequence[str] = TEXTS, *, most: int = 3) -> str:
        """The same for texts; half surrogate pairs are put in as well, which no bytes make."""
        found = self.pick(seeds)
        for _ in range(self.below(most + 1)):
            found = self._text_step(found, seeds, words)
        return found

    def _text_step(self, value: str, seeds: Sequence[str], words: Sequence[str]) -> str:
        at = self.below(len(value) + 1)
        match self.below(7):
            case 0:
                return value[:at]
            case 1:
                return value[:at] + value[at + 1 + self.below(8) :]
            case 2:
                part = value[at : at + 1 + self.below(10)]
                return value[:at] + part * self.pick((2, 2, 3, 40)) + value[at + len(part) :]
            case 3:
                other = self.pick(seeds)
                begin = self.below(len(other) + 1)
                return value[:at] + other[begin : begin + self.below(30)] + value[at:]
            case 4:
                sign = chr(self.pick((0x20, 0x7F, 0xFF, 0x2FF, 0xFFFF, 0x10FFFF)) - self.below(32))
                return f"{value[:at]}{sign}{value[at:]}"
            case 5:
                return value.swapcase() if self.happens(0.3) else value[at:] + value[:at]
            case _:
                return value[:at] + self.pick(words) + value[at + self.below(3) :]

    # ---- JSON ------------------------------------------------------------------------------------------------------

    def value(self, seeds: Sequence[Any], *, most: int = 3, strange: Callable[[], Any] | None = None) -> Any:
        """One of the seeds with some of its places changed. Seeds are never changed themselves.

        `strange` makes what is put in; without it that is JSON.
        """
        found = self.pick(seeds)
        for _ in range(self.below(most + 1)):
            found = self._changed(found, strange or self.anything)
        return found

    def _changed(self, value: Any, strange: Callable[[], Any]) -> Any:
        if isinstance(value, dict) and value and self.happens(0.9):
            return self._changed_object(value, strange)
        if isinstance(value, list) and value and self.happens(0.9):
            return self._changed_list(value, strange)
        if isinstance(value, str) and self.happens(0.6):
            return self._text_step(value, (value,), TEXTS)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and self.happens(0.4):
            return self.pick((value + 1, -value, str(value), [value], value * 1000, self.number()))
        return strange()

    def _changed_object(self, value: Mapping[str, Any], strange: Callable[[], Any]) -> dict[str, Any]:
        made = dict(value)
        name = self.pick(list(made))
        match self.below(12):
            case 0:
                del made[name]
            case 1:
                made[self.text((str(name),)) if self.happens(0.7) else self.pick(TEXTS)] = made.pop(name)
            case 2:
                made[self.pick(TEXTS)] = strange()
            case 3:
                made[name] = made[self.pick(list(made))]
            case 4:
                made[name] = strange()
            case _:
                made[name] = self._changed(made[name], strange)
        return made

    def _changed_list(self, value: Sequence[Any], strange: Callable[[], Any]) -> list[Any]:
        made = list(value)
        at = self.below(len(made))
        match self.below(10):
            case 0:
                del made[at]
            case 1:
                made.insert(at, strange())
            case 2:
                made *= self.pick((2, 2, 3, 20))
            case 3:
                made.reverse()
            case _:
                made[at] = self._changed(made[at], strange)
        return made

    def json(self, seeds: Sequence[Any], *, broken: float = 0.2) -> bytes:
        """JSON in bytes: changed places, and for a share of them bytes that make it none, or nested beyond all use."""
        found = self.value(seeds)
        deep = self.happens(0.03)
        if deep:
            found = self._changed(found, lambda: _DEEP)
        try:
            made = orjson.dumps(found)
        except TypeError:  # half surrogate pairs, integers beyond 64 bits
            made = json.dumps(found).encode()
        if deep:
            levels = self.pick((150, 199, 201, 254, 255, 600, 1023, 1025, 3000))
            for place in _PLACES_OF_DEEP:
                made = made.replace(place, b"[" * levels + b"]" * levels)
        return self.raw((made,), most=3) if self.happens(broken) else made

"""Logical topics and the patterns that choose among them (design, section 1.2).

`*` is one segment, `**` any number of them, none included. A pattern or topic with `/` splits at `/` only, another at
`.`; names that split differently never meet, so that `orders/*` has nothing to do with `orders.created`. A name of one
segment splits at neither: `orders/**` and `orders.**` both match `orders`.
"""

from dataclasses import dataclass
from typing import Final, Self

from topics.reserved import PREFIX
from topics.verdicts import HeadgateError

MAX_TOPIC: Final = 512
"""Characters of a logical topic or a pattern."""

ONE: Final = "*"
ANY: Final = "**"


class PatternError(HeadgateError, ValueError):
    """A pattern that cannot be read. Says which, why, and what a right one looks like."""


def separator_of(name: str) -> str | None:
    """Return where `name` splits: at "/", else at ".", else nowhere."""
    return "/" if "/" in name else "." if "." in name else None


def split(name: str) -> list[str]:
    """Return the segments of a topic or pattern."""
    return name.split("/") if "/" in name else name.split(".")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A literal topic or a pattern, read once and matched often."""

    text: str
    segments: tuple[str, ...]
    separator: str | None
    is_literal: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a topic or pattern. Raises PatternError."""
        if not isinstance(text, str):
            raise PatternError(f"a topic is text, not {text!r}; for example 'orders/created' or 'orders/*'")
        if not text.strip():
            raise PatternError("a topic cannot be empty; for example 'orders/created', or '**' for every topic")
        if len(text) > MAX_TOPIC:
            raise PatternError(f"the topic {text[:40]!r}… has {len(text)} characters, {MAX_TOPIC} are allowed")
        if bad := [c for c in text if ord(c) < 32 or 127 <= ord(c) < 160]:
            raise PatternError(f"the topic {text!r} holds the control character {bad[0]!r}; leave it out")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise PatternError(f"the topic {text!r} holds half a surrogate pair, so it is no Unicode; leave it out")
        if text != text.strip():
            raise PatternError(
                f"the topic {text!r} starts or ends with a blank, so no event would meet it; leave it out"
            )
        segments = split(text)
        for segment in segments:
            if "*" in segment and segment not in (ONE, ANY):
                raise PatternError(
                    f"'*' stands for a whole segment, but {text!r} has the segment {segment!r}; "
                    "write '*' for one segment or '**' for any number, for example 'orders/*'"
                )
        kept = tuple(s for n, s in enumerate(segments) if not (s == ANY and n and segments[n - 1] == ANY))
        return cls(text, kept, separator_of(text), "*" not in text)

    def matches(self, topic: str) -> bool:
        """Say whether the logical `topic` meets this pattern."""
        if self.is_literal:
            return topic == self.text
        if topic.startswith(PREFIX) and self.segments[0] in (ONE, ANY):
            return False
        separator = separator_of(topic)
        if separator != self.separator and separator is not None and self.separator is not None:
            return False
        return _meets(self.segments, topic.split(separator) if separator else [topic])

    def difference(self, topic: str) -> str | None:
        """Say why `topic` does not meet this pattern, None if it does."""
        if self.matches(topic):
            return None
        if topic.startswith(PREFIX) and self.segments[0] in (ONE, ANY):
            return f"Headgate's own topics are met only by what begins with {PREFIX.rstrip('/')!r}"
        separator = separator_of(topic)
        if separator is not None and self.separator is not None and separator != self.separator:
            return f"the topic splits at {separator!r}, {self.text!r} at {self.separator!r}"
        given, wanted = split(topic), self.segments
        for number, (have, want) in enumerate(zip(given, wanted, strict=False), 1):
            if want == ANY:
                break
            if want not in (ONE, have):
                return f"segment {number} is {have!r}, not {want!r}"
        if ANY in wanted:
            return f"its end does not fit what {self.text!r} has around {ANY!r}"
        return f"the topic has {_counted(len(given))}, {self.text!r} has {len(wanted)}"


def _counted(segments: int) -> str:
    return "1 segment" if segments == 1 else f"{segments} segments"


def _meets(pattern: tuple[str, ...], segments: list[str]) -> bool:
    """Match greedily and go back to the latest `**` only: no pattern and no topic makes this worse than n * m."""
    p = s = 0
    star, resume = -1, 0
    while s < len(segments):
        if p < len(pattern) and pattern[p] == ANY:
            star, resume = p, s
            p += 1
        elif p < len(pattern) and (pattern[p] == ONE or pattern[p] == segments[s]):
            p += 1
            s += 1
        elif star >= 0:
            resume += 1
            p, s = star + 1, resume
        else:
            return False
    return all(segment == ANY for segment in pattern[p:])


def head_of(name: str) -> str:
    """Return the first segment of a topic or pattern."""
    return name.partition("/" if "/" in name else ".")[0]

"""feedparser in a process of its own: a feed comes on stdin, what is in it goes to stdout as JSON.

Started as a script by `connectors.rss.markup`, and so light that it can be for every feed: it imports nothing of ours.
A process, because feedparser can be made to work for ever, some of it in regular expressions that let no other thread
run (137 KiB took 14 s, measured), and to take all memory; a process can be ended.

Nothing in a feed is cleaned, and no address resolved: texts are as the feed has them, markup of strangers. feedparser
gets a stream, never text or bytes: those it would take for a file's name or an address first.
"""

import contextlib
import io
import json
import re
import resource
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

MOST_CPU_SECONDS: Final = 60
"""Should nobody be left to end this process."""
MOST_MEMORY_BYTES: Final = 1024 * 1024 * 1024
MOST_OUTPUT_BYTES: Final = 64 * 1024 * 1024

_HARMLESS: Final = frozenset({"CharacterEncodingOverride", "NonXMLContentType"})
"""What feedparser calls broken although only the server's Content-Type is."""

_REFERENCE: Final = re.compile(rb"&#(?:[xX]([0-9a-fA-F]+)|([0-9]+));")


def found(body: bytes, content_type: str) -> dict[str, Any]:
    """Return what is in a feed; `version` is "" where it is none. Raises whatever feedparser stumbles over."""
    import feedparser

    headers = {"content-type": content_type} if content_type else {}
    result = feedparser.parse(
        io.BytesIO(_REFERENCE.sub(_possible, body)),
        response_headers=headers,
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    head = result["feed"]
    return {
        "version": result.get("version") or "",
        "broken": _broken(result),
        "title": _of(head, "title"),
        "link": _of(head, "link"),
        "ttl": _of(head, "ttl"),
        "entries": [_entry(one) for one in result["entries"]],
    }


def _possible(reference: re.Match[bytes]) -> bytes:
    """Return a reference to a character, to U+FFFD where there is none such: feedparser gives the whole feed up."""
    digits = (reference[1] or reference[2]).lstrip(b"0") or b"0"
    number = int(digits, 16 if reference[1] else 10) if len(digits) < 8 else 0x110000
    return reference[0] if number < 0xD800 or 0xE000 <= number < 0x110000 else b"&#xFFFD;"


def _of(where: Mapping[str, Any], name: str) -> Any:
    """Read what is there under its own name: feedparser's dictionaries answer with other fields, and warn."""
    return dict.get(where, name) if isinstance(where, dict) else None


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _of(entry, "id"),
        "link": _of(entry, "link"),
        "title": _of(entry, "title"),
        "summary": _of(entry, "summary"),
        "content": _content(entry),
        "date": _of(entry, "published") or _of(entry, "updated"),
        "published": _date(_of(entry, "published_parsed")),
        "updated": _date(_of(entry, "updated_parsed")),
        "authors": list(_authors(entry)),
        "categories": [_of(one, "term") or _of(one, "label") or "" for one in _of(entry, "tags") or ()],
        "enclosures": list(_enclosures(entry)),
    }


def _content(entry: Mapping[str, Any]) -> str | None:
    """Return the richest of several forms: markup before plain text."""
    forms = [one for one in _of(entry, "content") or () if _of(one, "value")]
    forms.sort(key=lambda one: _of(one, "type") == "text/plain")
    return _of(forms[0], "value") if forms else None


def _authors(entry: Mapping[str, Any]) -> Iterator[str]:
    several = _of(entry, "authors") or ()
    for one in several:
        yield _of(one, "name") or _of(one, "email") or ""
    if not several:
        yield _of(entry, "author") or ""


def _enclosures(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in _of(entry, "links") or ():
        if _of(one, "rel") == "enclosure":
            yield {"url": _of(one, "href"), "type": _of(one, "type"), "length": _of(one, "length")}
    for one in _of(entry, "media_content") or ():
        yield {"url": _of(one, "url"), "type": _of(one, "type"), "length": _of(one, "filesize")}


def _date(parsed: Any) -> list[int] | None:
    """Year, month, day, hour, minute and second in UTC."""
    return None if parsed is None else [int(part) for part in tuple(parsed)[:6]]


def _broken(result: Mapping[str, Any]) -> str | None:
    if not result.get("bozo"):
        return None
    name = type(result.get("bozo_exception")).__name__
    return None if name in _HARMLESS else name


def encoded(answer: Mapping[str, Any]) -> bytes:
    """As JSON in UTF-8, without half surrogate pairs: entities such as `&#xD800;` make those."""
    return json.dumps(answer, ensure_ascii=False).encode(errors="replace")


def main() -> None:
    """Read stdin to its end, and print what was found, or `error` with the name of what went wrong."""
    for bound, most in ((resource.RLIMIT_CPU, MOST_CPU_SECONDS), (resource.RLIMIT_AS, MOST_MEMORY_BYTES)):
        with contextlib.suppress(ValueError, OSError):  # macOS has no bound on memory
            resource.setrlimit(bound, (most, most))
    try:
        answer = encoded(found(sys.stdin.buffer.read(), sys.argv[1]))
        if len(answer) > MOST_OUTPUT_BYTES:
            answer = encoded({"error": "TooLarge"})
    except Exception as error:  # noqa: BLE001 feedparser stumbles over strangers' bytes in ways that nobody lists
        answer = encoded({"error": type(error).__name__})
    sys.stdout.buffer.write(answer)


if __name__ == "__main__":
    main()

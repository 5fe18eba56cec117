"""`{{ env.NAME }}` and `{{ file.NAME }}` in options become what they stand for, where the source runs.

What is in Kafka, in files and in errors names secrets, and never has one (`base.kinds.unnamed` sees to that). A file is
looked for in one folder (setting `connectors.secrets`), so that options can never read any other file.
"""

import base64
import re
import string
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

import orjson

MOST_BYTES: Final = 64 * 1024
MOST_CHARS: Final = 1024 * 1024
"""Of all places together: a short text may name a long secret very often."""
SHORTEST_MASKED: Final = 4
"""Characters; a shorter secret would mask half of every text."""
RESERVED: Final = "HEADGATE_"
"""Variables that begin so are Headgate's own settings, its token among them."""
EVERY: Final = ("*",)
"""Patterns that let sources name all variables but those."""
_PATTERN: Final = frozenset(f"{string.ascii_letters}{string.digits}_.-*?")
_PLACE: Final = re.compile(r"\{\{\s*(env|file)\.([A-Za-z0-9_][A-Za-z0-9_.-]{0,199})\s*\}\}", re.ASCII)


class UnknownSecret(Exception):
    """An option names a secret that this process does not have."""

    def __init__(self, name: str, fact: str, remedy: str) -> None:
        super().__init__(f"{name} {fact}. {remedy}")
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class Variables:
    """The variables of a process, and which of them sources may name (setting `connectors.secret_names`)."""

    of_process: Mapping[str, str]
    patterns: Sequence[str] = EVERY

    def may_be_named(self, name: str) -> bool:
        """Whether a source may: whoever can set up sources could send any of them to a server of his own."""
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise ValueError for a pattern that could never be one of names."""
    for pattern in patterns:
        if not pattern or not _PATTERN.issuperset(pattern):
            raise ValueError(f"{pattern!r} is no pattern of names: letters, digits, `_`, `*` for any text, `?` for one")


def names(value: Any) -> set[str]:
    """Return the secrets that options name, such as `env.TOKEN`."""
    if isinstance(value, str):
        return {f"{kind}.{name}" for kind, name in _PLACE.findall(value)}
    if isinstance(value, Mapping):
        return set().union(*map(names, value.values()))
    return set().union(*map(names, value)) if isinstance(value, list | tuple) else set()


def resolve(
    value: Any, *, environment: Variables, folder: Path | None, where: str = "where connectors run"
) -> tuple[Any, Set[str]]:
    """Return the options with secrets in their places, and those secrets. Raises UnknownSecret.

    `where` says where these options are used, for whoever has to set a variable there.
    """
    found: set[str] = set()
    size = 0

    def put(match: re.Match[str]) -> str:
        nonlocal size
        secret = _from_environment(match[2], environment, where) if match[1] == "env" else _from_file(match[2], folder)
        size += len(secret)
        if size > MOST_CHARS:
            fact = f"makes the options longer than {MOST_CHARS} characters"
            raise UnknownSecret(f"{match[1]}.{match[2]}", fact, "Name it fewer times.")
        found.add(secret)
        return secret

    def walk(one: Any) -> Any:
        if isinstance(one, str):
            return _PLACE.sub(put, one)
        if isinstance(one, Mapping):
            return {name: walk(inner) for name, inner in one.items()}
        return [walk(inner) for inner in one] if isinstance(one, list | tuple) else one

    return walk(value), frozenset(found - {""})


def _from_environment(name: str, environment: Variables, where: str) -> str:
    if name.upper().startswith(RESERVED):
        raise UnknownSecret(f"env.{name}", "is a setting of Headgate itself", "Give the source a variable of its own.")
    if not environment.may_be_named(name):
        remedy = f"Name it in the setting connectors.secret_names {where}, or use another variable."
        raise UnknownSecret(f"env.{name}", "is a variable that sources may not use", remedy)
    try:
        secret = environment.of_process[name]
        secret.encode()  # what is no UTF-8 in the environment is halves of surrogate pairs here
    except KeyError:
        raise UnknownSecret(
            f"env.{name}", "is not set in this process", f"Set the environment variable {name} {where}."
        ) from None
    except UnicodeEncodeError:
        raise UnknownSecret(f"env.{name}", "is not UTF-8 text", "Set it to text, binary data in base64.") from None
    return secret


def _from_file(name: str, folder: Path | None) -> str:
    shown = f"file.{name}"
    if folder is None:
        raise UnknownSecret(
            shown, "cannot be read: no folder of secrets is set", "Set HEADGATE_CONNECTORS_SECRETS to that folder."
        )
    file = folder / name
    try:
        # Kubernetes mounts secrets as links inside the folder; a link out of it is not followed.
        if not file.resolve(strict=True).is_relative_to(folder.resolve()):
            raise UnknownSecret(shown, "leads out of the folder of secrets", "Put the file itself there.")
        if file.stat().st_size > MOST_BYTES:
            raise UnknownSecret(shown, f"has more than {MOST_BYTES} bytes", "Put the secret alone into the file.")
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UnknownSecret(shown, "is not UTF-8 text", "Write it as text, binary data in base64.") from None
    except OSError as error:
        raise UnknownSecret(
            shown, f"cannot be read: {error.strerror}", "Mount it into the folder of connectors.secrets."
        ) from None


def shapes(secrets: Set[str]) -> Set[str]:
    """Return secrets in all forms in which errors may show them: in a URL, in JSON, as Python or base64 write it."""
    found = set()
    for secret in secrets:
        lines = [line.strip() for line in secret.splitlines()] if len(secret.splitlines()) > 1 else []
        for one in (secret, *(line for line in lines if len(line) >= 2 * SHORTEST_MASKED)):
            encoded = base64.b64encode(one.encode(errors="replace")).decode()
            written = orjson.dumps(one).decode()[1:-1]
            found |= {one, quote(one, safe=""), quote(one), quote_plus(one), written, repr(one)[1:-1], encoded}
    return frozenset(found)


def masked(text: str, secrets: Set[str]) -> str:
    """Return the text with every secret in it replaced; the longest first, as one may contain another."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_MASKED:
            text = text.replace(secret, "***")
    return text

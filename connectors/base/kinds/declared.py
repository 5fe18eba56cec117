"""Sources declared in YAML files, made to be what `triggers` says: added, changed and removed there.

    sources:
      - id: tech-feed
        kind: rss
        options: {url: "https://example.com/feed.xml", interval: 10m}
        filter: {data.title: {contains: Kafka}}
        reconnect: {max_seconds: 120}

One model: whoever reads `triggers` sees what files, runs and others have set up. A file removes only what it has set up
itself (its origin is its name, and that of its deployment), and secrets stay named as they are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from connectors.base.backoff import Reconnect
from connectors.base.kinds import mistakes, registry, unnamed
from connectors.base.texts import filters, secrets, templates
from topics.sources import FIELDS, Spec, Unsuitable, is_source_id, made_of

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_SOURCES: Final = 10_000


class DeclarationError(Exception):
    """A file of sources cannot be followed: the words name the file and the place."""

    exit_code: Final = 2

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file}: {problem}")
        self.file = file


class StrangersError(DeclarationError):
    """A file would take out everything that a file of its name has set up, and has nothing of it: it is another one."""

    def __init__(self, file: Path, there: Sequence[str]) -> None:
        names = ", ".join(there[:5]) + (f" and {len(there) - 5} more" if len(there) > 5 else "")
        super().__init__(
            file,
            f"another file of this name has set up {names}, and none of it is here: this one would take all of it out, "
            "so nothing was changed. If they are another deployment's, give this one a name "
            "(HEADGATE_CONNECTORS_DECLARED_BY=NAME, the setting connectors.declared_by) or its file another name. If "
            "they are this file's of before, start it once with `sources: []`, which takes them out, and then as it is",
        )
        self.there = there


def origins(files: Sequence[Path], *, declared_by: str | None = None) -> dict[Path, str]:
    """Return the origin of what each file sets up. Raises DeclarationError for a file that is given twice.

    It is the file's name, not its folder, which differs between machines; of files with one name, as much of their
    paths as tells them apart. `declared_by` names the deployment among others that have files of the same names.
    """
    whole = {file: file.absolute().parts for file in files}
    found = {}
    for number, file in enumerate(files):
        if any(whole[file] == whole[other] for other in files[:number]):
            raise DeclarationError(file, "it is given twice")
        parts, length = whole[file], 1
        while any(other != parts and other[-length:] == parts[-length:] for other in whole.values()):
            length += 1
        name = "/".join(parts[-length:]).lstrip("/")
        found[file] = f"file {name}" if declared_by is None else f"file {name} of {declared_by}"
    return found


def read(files: Sequence[Path], *, declared_by: str | None = None) -> list[Spec]:
    """Return everything that files declare, checked. Raises DeclarationError for the first problem."""
    found: dict[str, tuple[Path, Spec]] = {}
    for file, origin in origins(files, declared_by=declared_by).items():
        for spec in _declared(file, origin):
            if spec.id in found:
                other = found[spec.id][0]
                where = "twice" if other == file else f"in {other} as well"
                raise DeclarationError(file, f"source {spec.id!r} is declared {where}; each needs an id of its own")
            found[spec.id] = (file, spec)
    return [spec for _, spec in found.values()]


def _declared(file: Path, origin: str) -> list[Spec]:
    document = _loaded(file)
    if not isinstance(document, dict) or not isinstance(document.get("sources"), list):
        raise DeclarationError(file, "it has no list `sources:`, with an entry for each source")
    unknown = sorted(set(map(str, document)) - {"sources"})
    if unknown:
        raise DeclarationError(file, f"{unknown[0]!r} is not known; there is `sources:` alone")
    entries: list[Any] = document["sources"]
    if len(entries) > MOST_SOURCES:
        raise DeclarationError(file, f"it has {len(entries)} sources, {MOST_SOURCES} are allowed")
    return [_checked(file, origin, number, entry) for number, entry in enumerate(entries)]


def _loaded(file: Path) -> Any:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise DeclarationError(file, f"it has more than {MOST_BYTES} bytes")
        text = file.read_text(encoding="utf-8")
        # An alias would let a short file become a very large one.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise DeclarationError(file, "it uses YAML aliases (`*name`); write the values out")
        return yaml.safe_load(text)
    except UnicodeDecodeError:
        raise DeclarationError(file, "it is not UTF-8") from None
    except OSError as error:
        raise DeclarationError(file, f"it cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise DeclarationError(file, f"it is not YAML: {_not_yaml(error, text)}") from None
    except RecursionError:
        raise DeclarationError(file, "it is nested too deep") from None
    # What PyYAML raises for a value that has the form of a time, or a tag that it does not fit, such as 2026-13-01.
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        raise DeclarationError(file, f"it has a value that YAML cannot read ({error}); put it in quotes") from None


def _not_yaml(error: yaml.YAMLError, text: str) -> str:
    """Say what is wrong and where, without the text itself: there may be secrets in it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    lines, marks = text.splitlines(), [one for one in (error.problem_mark, error.context_mark) if one is not None]
    place = f" in line {marks[0].line + 1}, column {marks[0].column + 1}" if marks else ""
    braces = any("{{" in line for mark in marks for line in lines[mark.line : mark.line + 1])
    hint = '; put a value with `{{` in quotes: "{{ env.NAME }}"' if braces else ""
    return " ".join(f"{error.context or ''} {error.problem}".split()) + place + hint


def _checked(file: Path, origin: str, number: int, entry: Any) -> Spec:
    where = f"/sources/{number}"
    if not isinstance(entry, dict):
        raise DeclarationError(file, f"{where} is no object with id and kind")
    if is_source_id(entry.get("id")):
        where += f" ({entry['id']})"
    unknown = sorted(set(map(str, entry)) - FIELDS)
    if unknown:
        near = get_close_matches(unknown[0], sorted(FIELDS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(FIELDS))}"
        raise DeclarationError(file, f"{where}: /{unknown[0]} is not known; {hint}")
    try:
        spec = made_of(entry, origin=origin)
        check(spec)
    except (Unsuitable, UnsuitableSource) as error:
        raise DeclarationError(file, f"{where}: {error}") from None
    return spec


class UnsuitableSource(ValueError):
    """A source cannot run as it is declared."""


def check(spec: Spec) -> None:
    """Raise UnsuitableSource for what can be seen without its secrets: kind, options, filter, templates, reconnect.

    A secret that stands in the options themselves is refused as well: they are written as they are.
    """
    try:
        kind = registry.load(spec.kind)
        Reconnect.model_validate(spec.reconnect)
        if spec.filter is not None:
            filters.Filter(spec.filter)
        for template in (spec.topic, spec.key):
            if template is not None:
                templates.Template.parse(template)
    except ValidationError as error:
        raise UnsuitableSource(mistakes.in_fields(error, "/reconnect", Reconnect)) from None
    except (registry.UnknownKind, filters.FilterError, templates.TemplateError) as error:
        raise UnsuitableSource(str(error)) from None
    try:
        kind.config.model_validate(spec.options)
    except ValidationError as error:
        # What a secret will be is not known yet.
        words = mistakes.in_options(error, kind, counts=lambda place: not secrets.names(_at(spec.options, place)))
        if words:
            raise UnsuitableSource(words) from None
    for found in unnamed.find(kind.config, spec.options):
        raise UnsuitableSource(str(found))


def _at(options: Any, path: Sequence[Any]) -> Any:
    for step in path:
        try:
            options = options[step]
        except (KeyError, IndexError, TypeError):
            return options if isinstance(options, str) else None
    return options


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What has to be written so that `triggers` is as files say."""

    written: Sequence[Spec]
    removed: Sequence[str]
    taken: Mapping[str, str]
    """Ids that somebody else has set up, and who: they stay theirs, and everything else is as files say."""


def changes(declared: Iterable[Spec], there: Mapping[str, Spec], *, origins: frozenset[str]) -> Changes:
    """Compare what files declare with what is there."""
    wanted = {spec.id: spec for spec in declared}
    taken = {
        name: there[name].origin or "somebody else"
        for name, spec in wanted.items()
        if name in there and there[name].origin != spec.origin and not there[name].origin.startswith("file ")
    }
    return Changes(
        written=[
            spec
            for name, spec in wanted.items()
            if name not in taken
            and (name not in there or there[name].digest != spec.digest or there[name].origin != spec.origin)
        ],
        removed=[name for name, spec in there.items() if spec.origin in origins and name not in wanted],
        taken=taken,
    )


def check_strangers(declared: Iterable[Spec], there: Mapping[str, Spec], *, files: Mapping[Path, str]) -> None:
    """Raise StrangersError for a file of `files`, with its origin, that has nothing of what is there under that.

    For files whose deployment has no name: two with one file name would take out each other's sources, in turns.
    """
    wanted = {(spec.origin, spec.id) for spec in declared}
    for file, origin in files.items():
        its = sorted(name for name, spec in there.items() if spec.origin == origin)
        mine = [name for of, name in wanted if of == origin]
        if its and mine and not set(its) & set(mine):
            raise StrangersError(file, its)

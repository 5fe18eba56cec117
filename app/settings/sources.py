"""Where settings come from: a TOML file, the environment, the command line. Each yields values and problems."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from app.settings.groups import FIELDS, GROUPS, PREFIX, variable
from app.settings.problems import Given, Problem, unknown

FILE_NAME: Final = "headgate.toml"
# Begins like a setting and is none: it says where the settings file is.
OTHER_VARIABLES: Final = frozenset({"HEADGATE_CONFIG"})
# Options of `headgate dev` that are no settings: they are of a developer's shell (ADR 6).
DEV_ONLY: Final = ("data", "kafka-port", "quiet", "workers")
# Those that are settings of other names.
DEV_TOO: Final = ("kafka", "port")
# What others call kafka.bootstrap, and the option --kafka.
_BROKERS: Final = re.compile(r"kafka([._](brokers?|servers?|hosts?|address(es)?|url))?")
# What Kubernetes puts into every pod beside a Service named headgate or headgate-…
_SERVICE_LINK: Final = re.compile(
    r"HEADGATE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)


def from_file(path: Path | None) -> Iterator[Given | Problem]:
    """Read `path`, which must exist, or `headgate.toml` of the working directory, which need not."""
    file = path or Path(FILE_NAME)
    try:
        text = file.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        if path is not None:
            yield Problem(source=str(file), fact="there is no such settings file", remedy="Mend --config or create it")
        return
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        where = f"{file}:{at[1]}" if at else str(file)
        yield Problem(source=where, fact=f"it is not TOML: {error}", remedy="Write `[group]`, then `field = value`")
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Problem(source=str(file), fact=f"it cannot be read: {error}", remedy="Make it a readable UTF-8 file")
        return
    for group, table in tables.items():
        where = f"{file}:{_line(text, group)}"
        if isinstance(table, dict) and (group in GROUPS or (group == "dev" and table)):
            yield from _from_table(file, text, group, table)
        elif isinstance(table, dict):
            yield unknown(where, f"[{group}]", [f"[{known}]" for known in GROUPS])
        elif group in GROUPS:
            yield Problem(source=where, fact=f"{group} is a group, not a value", remedy=f"Write `[{group}]`")
        else:
            yield _unknown(where, group, list(FIELDS))


def _from_table(file: Path, text: str, group: str, table: Mapping[str, object]) -> Iterator[Given | Problem]:
    for field, value in table.items():
        where, name = f"{file}:{_line(text, group, field)}", f"{group}.{field}"
        yield Given(name, value, where) if name in FIELDS else _unknown(where, name, list(FIELDS))


def _unknown(source: str, name: str, known: Sequence[str]) -> Problem:
    """A name that is no setting: `group.field`, or a variable."""
    plain = name.removeprefix(PREFIX).lower()
    words = re.sub(r"[._]", "-", plain)
    option = words.removeprefix("dev-")
    if option in DEV_ONLY or (option in DEV_TOO and option != words):
        fact = "is an option of `headgate dev` and no setting"
        fact = fact if source == name else f"{name} {fact}"
        return Problem(source=source, fact=fact, remedy=f"Say it as `headgate dev --{option}`")
    brokers = "kafka.bootstrap" if plain == name else variable("kafka.bootstrap")
    return unknown(source, name, known, meant=brokers if _BROKERS.fullmatch(plain) else None)


def _line(text: str, group: str, field: str | None = None) -> int:
    """The line where a name stands. `tomllib` keeps no positions, so this looks for the usual ways to write it."""
    key = "[\"']?{}[\"']?".format
    header = re.compile(rf"\s*\[\[?\s*{key(re.escape(group))}\s*[\].]")
    inline = re.compile(rf"\s*{key(re.escape(group))}\s*(=|\.\s*{key(re.escape(field or ''))}\s*[=.])")
    wanted = re.compile(rf"\s*{key(re.escape(field or ''))}\s*=")
    inside, first = False, None
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("["):
            inside = header.match(line) is not None
            first = first or (number if inside else None)
        elif (inside and field and wanted.match(line)) or (not inside and inline.match(line)):
            return number
    return first or 1


def from_environ(environ: Mapping[str, str]) -> Iterator[Given | Problem]:
    """Read every variable that begins with `HEADGATE_`."""
    names = {variable(name): name for name in FIELDS}
    for key in sorted(environ):
        if not key.startswith(PREFIX) or key in OTHER_VARIABLES or _is_service_link(key, environ[key]):
            continue
        if key in names:
            yield Given(names[key], environ[key], key)
        else:
            yield _unknown(key, key, list(names))


def _is_service_link(key: str, value: str) -> bool:
    """A Service headgate-gateway makes Kubernetes set HEADGATE_GATEWAY_PORT=tcp://…, which is no port of ours."""
    return _SERVICE_LINK.fullmatch(key) is not None or (key.endswith("_PORT") and "://" in value)


def from_overrides(overrides: Mapping[str, object]) -> Iterator[Given | Problem]:
    """Read options of the command line, by the setting that each stands for; None is an option not given."""
    for name, value in overrides.items():
        if name not in FIELDS:
            yield unknown("command line", name, list(FIELDS))
        elif value is not None:
            yield Given(name, value, "command line")

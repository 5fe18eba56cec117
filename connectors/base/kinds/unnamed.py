"""Secrets that stand in options in clear, where `{{ env.NAME }}` or `{{ file.NAME }}` belongs.

What options say is journaled, and stays in the compacted topic `triggers`: `declared.check` lets no source in that
would put a secret there. What is a secret is told by the type of an option, by the name of a header, of a parameter of
a query or of a field in JSON, and by the place of a password in a URL.
"""

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, get_args, get_origin
from urllib.parse import unquote_plus

from pydantic import BaseModel, Secret, SecretStr

from connectors.base.texts import secrets

_CREDENTIAL: Final = re.compile(
    r"(^|[-_])(authorization|auth|cookie|token|secret|password|passwd|credentials?|jwt|signature|sig|apikey|accesskey"
    r"|(api|auth|access|subscription|secret|private)[-_]key)$",
    re.IGNORECASE,
)
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LOGIN: Final = re.compile(r"://[^/?#@:[]*:(?P<password>[^@]*)@")
_PORT: Final = re.compile(r"[0-9]*[/?#].*", re.DOTALL)
_CERTIFICATES: Final = re.compile(r"\s*-----BEGIN (TRUSTED )?CERTIFICATE-----(?!.*PRIVATE KEY)", re.DOTALL)
_UNIONS: Final = (Union, types.UnionType)
_WRAPPERS: Final = (Annotated, Secret)
_LISTS: Final = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unnamed:
    """A secret in clear, and where it stands in the options."""

    place: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        where = "".join(f"/{part}" for part in self.place)
        return (
            f"/options{where}: a secret stands here in clear, and Kafka would keep it so. Name it instead, where the "
            'source runs: "{{ env.NAME }}" is a variable, "{{ file.NAME }}" a file of the folder connectors.secrets'
        )


def find(config: type[BaseModel], options: Mapping[str, Any]) -> Iterator[Unnamed]:
    """Yield the secrets in clear of options whose model is `config`. No value makes it raise."""
    yield from _walk((config,), options, ())


def is_credential(name: str) -> bool:
    """Whether what has this name is a secret: a header, a parameter of a query, a field of JSON."""
    return _CREDENTIAL.search(_HUMP.sub("-", name)) is not None


def _walk(types_: Sequence[Any], value: Any, place: tuple[str, ...]) -> Iterator[Unnamed]:
    """Look at a value that may be of these types; of none of them where nothing is known of it."""
    leaves = [leaf for one in types_ for leaf in _leaves(one)]
    if isinstance(value, str):
        within = [*leaves, *(leaf for one in leaves for inner in _items(one) for leaf in _leaves(inner))]
        if _is_open(value, is_secret=any(one is SecretStr for one in within)):
            yield Unnamed(place=place, text=value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _field(leaves, str(name), inner, (*place, str(name)))
    elif isinstance(value, list | tuple):
        inside = [inner for one in leaves for inner in _items(one)]
        for number, inner in enumerate(value):
            yield from _walk(inside, inner, (*place, str(number)))


def _field(leaves: Sequence[Any], name: str, value: Any, place: tuple[str, ...]) -> Iterator[Unnamed]:
    fields = [
        field
        for one in leaves
        if _is_model(one)
        for key, field in one.model_fields.items()
        if name in (key, field.alias)
    ]
    if fields:
        yield from _walk([field.annotation for field in fields], value, place)
    elif isinstance(value, str) and is_credential(name):
        if _is_open(value, is_secret=True):
            yield Unnamed(place=place, text=value)
    else:
        # In dict[str, SecretStr], which headers are, the name decides: others are public, such as Accept.
        inside = [one for leaf in leaves if get_origin(leaf) in (dict, Mapping) for one in get_args(leaf)[1:]]
        yield from _walk([one for one in inside if one is not SecretStr], value, place)


def _is_open(text: str, *, is_secret: bool) -> bool:
    if _URL.match(text):
        return _tells(text)
    return is_secret and bool(text.strip()) and not secrets.names(text) and not _CERTIFICATES.match(text)


def _tells(url: str) -> bool:
    """Whether a URL has a password, or in its query a parameter that is a secret, in clear."""
    login = _LOGIN.search(url)
    password = "" if login is None or _PORT.fullmatch(login["password"]) else login["password"]
    if password and not secrets.names(password):
        return True
    query = url.partition("?")[2].partition("#")[0]
    for pair in re.split("[&;]", query):
        name, _, value = pair.partition("=")
        if value and is_credential(unquote_plus(name)) and not secrets.names(value):
            return True
    return False


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value of this one may have, without what says more of them."""
    origin = get_origin(annotation)
    if origin in _UNIONS:
        for one in get_args(annotation):
            yield from _leaves(one)
    elif origin in _WRAPPERS:
        yield from _leaves(get_args(annotation)[0])
    else:
        yield annotation


def _items(leaf: Any) -> Sequence[Any]:
    return [one for one in get_args(leaf) if one is not ...] if get_origin(leaf) in _LISTS else []


def _is_model(leaf: Any) -> bool:
    return isinstance(leaf, type) and issubclass(leaf, BaseModel)

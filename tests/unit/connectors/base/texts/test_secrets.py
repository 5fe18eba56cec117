"""Secrets that options name."""

import base64
from pathlib import Path
from urllib.parse import quote, quote_plus

import orjson
import pytest

from connectors.base.texts import secrets
from connectors.base.texts.secrets import UnknownSecret, Variables, masked, resolve, shapes


def test_secrets_take_their_places_and_are_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    options = {"a": "{{ env.A }}", "list": ["Bearer {{file.token}}", 3], "other": "{{ data.x }}"}

    resolved, found = secrets.resolve(options, environment=Variables(of_process={"A": "alpha"}), folder=tmp_path)

    assert {"a": "alpha", "list": ["Bearer from-a-file", 3], "other": "{{ data.x }}"} == resolved
    assert frozenset({"alpha", "from-a-file"}) == found
    assert {"env.A", "file.token"} == secrets.names(options)


def test_what_is_in_a_secret_is_not_looked_at_again() -> None:
    resolved, _ = secrets.resolve(
        "{{ env.A }}", environment=Variables(of_process={"A": "{{ env.B }}", "B": "b"}), folder=None
    )

    assert resolved == "{{ env.B }}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ env.MISSING }}", "env.MISSING is not set in this process"),
        ("{{ env.HEADGATE_GATEWAY_TOKEN }}", "a setting of Headgate itself"),
        ("{{ env.headgate_x }}", "a setting of Headgate itself"),
        ("{{ env.BINARY }}", "env.BINARY is not UTF-8 text"),
        ("{{ file.none }}", "file.none cannot be read"),
        ("{{ file.link }}", "leads out of the folder"),
        ("{{ file.large }}", "more than"),
        ("{{ file.binary }}", "not UTF-8"),
    ],
)
def test_what_cannot_be_had_is_named(text: str, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "large").write_text("x" * (secrets.MOST_BYTES + 1))
    (folder / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(UnknownSecret, match=words):
        secrets.resolve(
            text, environment=Variables(of_process={"HEADGATE_GATEWAY_TOKEN": "t", "BINARY": "\udcff"}), folder=folder
        )


def test_no_path_leads_anywhere_else(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "/etc/passwd"):
        resolved, found = secrets.resolve(
            f"{{{{ file.{name} }}}}", environment=Variables(of_process={}), folder=tmp_path
        )
        assert (f"{{{{ file.{name} }}}}", frozenset()) == (resolved, found)


def test_without_a_folder_there_are_no_files() -> None:
    with pytest.raises(UnknownSecret, match="HEADGATE_CONNECTORS_SECRETS"):
        secrets.resolve("{{ file.x }}", environment=Variables(of_process={}), folder=None)


def test_links_inside_the_folder_are_followed_as_kubernetes_makes_them(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "token").write_text("t0ken")
    (tmp_path / "token").symlink_to(tmp_path / "..data" / "token")

    assert secrets.resolve("{{ file.token }}", environment=Variables(of_process={}), folder=tmp_path)[0] == "t0ken"


def test_texts_are_masked_longest_secret_first() -> None:
    assert secrets.masked("a secret-long and secret", frozenset({"secret", "secret-long"})) == "a *** and ***"


def test_a_secret_of_three_characters_would_mask_half_of_every_text() -> None:
    assert secrets.masked("abc abcdef", frozenset({"abc"})) == "abc abcdef"


def test_secrets_are_masked_in_every_form_in_which_errors_show_them() -> None:
    secret = 'p@ss/w\u00f6rd "x" &c\nthe second line of it'
    known = shapes({secret})
    for shown in (
        secret,
        f"https://host/?token={quote(secret, safe='')}&more=1",
        f"https://host/?token={quote_plus(secret)}",
        f"Basic {base64.b64encode(secret.encode()).decode()}",
        orjson.dumps({"token": secret}).decode(),
        f"ValueError: {secret!r} is wrong",
        "near: the second line of it",
    ):
        assert "***" in masked(shown, known), shown
        for part in ("p@ss", "p%40ss", "second line", "second%20line", "second+line", "cEBzcy"):
            assert part not in masked(shown, known)


def test_a_short_text_makes_no_long_options() -> None:
    with pytest.raises(UnknownSecret, match=r"env\.BIG makes the options longer than 1048576 characters"):
        resolve(["{{ env.BIG }}" * 1_000], environment=Variables(of_process={"BIG": "x" * 100_000}), folder=None)


@pytest.mark.parametrize(
    ("patterns", "name", "may"),
    [
        (["*"], "DATABASE_URL", True),
        (["SHOP_*", "TOKEN"], "SHOP_KEY", True),
        (["SHOP_*", "TOKEN"], "TOKEN", True),
        (["SHOP_*", "TOKEN"], "DATABASE_URL", False),
        (["SHOP_*", "TOKEN"], "shop_key", False),
        (["SHOP_?"], "SHOP_KEY", False),
        ([], "TOKEN", False),
        (["*"], "HEADGATE_GATEWAY_TOKEN", False),
        (["HEADGATE_*"], "HEADGATE_GATEWAY_TOKEN", False),
    ],
)
def test_sources_name_the_variables_that_they_may(patterns: list[str], name: str, *, may: bool) -> None:
    variables = Variables(of_process={name: "value"}, patterns=patterns)
    try:
        assert resolve(f"{{{{ env.{name} }}}}", environment=variables, folder=None)[0] == "value"
        can = True
    except UnknownSecret:
        can = False

    assert can is may


def test_a_variable_that_may_not_be_named_is_refused_in_words_whether_it_is_set_or_not() -> None:
    said = []
    for there in ({}, {"A": "alpha"}):
        with pytest.raises(UnknownSecret) as caught:
            resolve("{{ env.A }}", environment=Variables(of_process=there, patterns=["B"]), folder=None)
        said.append(str(caught.value))

    remedy = "Name it in the setting connectors.secret_names where connectors run, or use another variable."
    assert said == 2 * [f"env.A is a variable that sources may not use. {remedy}"]


@pytest.mark.parametrize("pattern", ["", "A B", "A,B", "{{A}}", "A=1", "A[0-9]"])
def test_what_could_never_be_a_pattern_of_names_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern of names"):
        secrets.check_patterns(["A_*", pattern])

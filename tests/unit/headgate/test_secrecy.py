"""Where a secret is found, and what is left as it was."""

import logging

import pytest

from headgate.secrecy import Secrecy

CANARY = "canary-4711"


def heard(secret: str | None = CANARY) -> Secrecy:
    secrecy, log = Secrecy(secret), logging.getLogger("weather")
    with secrecy.listening():
        log.info("one %s", CANARY)
        log.warning("two", extra={"fields": {"token": CANARY}})
        try:
            raise ValueError(CANARY)
        except ValueError:
            log.exception("three")
        log.info("four")
    log.warning("five %s", CANARY)
    return secrecy


def test_words_fields_and_traces_of_the_log_are_looked_at_for_as_long_as_it_listens() -> None:
    assert heard().places == ["a record of the log 'weather'"] * 3
    assert heard(None).places == []


def test_the_log_is_as_it_was_afterwards() -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    heard()
    assert (root.level, list(root.handlers)) == before


def test_what_is_raised_is_looked_at_and_comes_through() -> None:
    secrecy = Secrecy(CANARY)
    with pytest.raises(ValueError, match=CANARY), secrecy.listening():
        raise ValueError(CANARY)
    assert secrecy.places == ["the ValueError that it raises"]


def test_a_place_does_not_tell_the_secret() -> None:
    secrecy = Secrecy(CANARY)
    secrecy.look(f"the event {CANARY}", {"id": CANARY})
    secrecy.look("the event x", {"id": "x"})
    assert secrecy.places == ["the event ***"]

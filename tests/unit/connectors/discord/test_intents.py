"""Names of intents."""

import pytest

from connectors.discord import intents


def test_names_are_added_up_in_any_form() -> None:
    assert intents.USUAL == 33281
    for form in (["GUILDS", "GUILD_MESSAGES", "MESSAGE_CONTENT"], "guilds, guild_messages,MESSAGE_CONTENT"):
        assert intents.number(form) == 33281


def test_numbers_are_left_to_the_type() -> None:
    assert [intents.number(value) for value in (7, "7", None, [1])] == [7, "7", None, [1]]


def test_a_name_that_is_none_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"^there is no intent 'GUILD_MESAGES'; there are GUILDS, "):
        intents.number(["guild_mesages"])


def test_each_intent_has_a_bit_of_its_own() -> None:
    assert len({*intents.INTENTS.values()}) == len(intents.INTENTS)
    assert all(value & (value - 1) == 0 for value in intents.INTENTS.values())
    assert [intents.INTENTS[one] for one in ("GUILD_MEMBERS", "GUILD_PRESENCES", "MESSAGE_CONTENT")] == [2, 256, 32768]

from app.cli.exits import MEANINGS, Exit


def test_the_codes_are_the_promised_ones() -> None:
    promised = {"OK": 0, "FAILED": 1, "USAGE": 2, "UNREACHABLE": 3, "CONFLICT": 4, "CRASHED": 70, "INTERRUPTED": 130}
    assert {code.name: code.value for code in Exit} == promised


def test_every_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Exit)

"""Options of sources."""

import pytest
from pydantic import ValidationError

from connectors.base.options import Field, Options, Seconds, SecretStr, SocketUrl, Url


class Some(Options):
    wait: Seconds = Field(default=1.0, description="A time.")
    url: Url = Field(default="https://example.com", description="A page.")
    socket: SocketUrl = Field(default="wss://example.com", description="A socket.")
    token: SecretStr = Field(default=SecretStr(""), description="A secret.")


def test_times_are_numbers_or_durations() -> None:
    assert [5.0, 90.0, 3600.0] == [Some.model_validate({"wait": wait}).wait for wait in (5, "90s", "PT1H")]


@pytest.mark.parametrize(
    "options",
    [
        {"wait": 0},
        {"wait": "soon"},
        {"wait": float("inf")},
        {"url": "ftp://x"},
        {"url": "https://x\n"},
        {"socket": "https://x"},
        {"no": 1},
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Some.model_validate(options)


def test_no_value_is_in_an_error_or_shown() -> None:
    with pytest.raises(ValidationError) as raised:
        Some.model_validate({"url": "canary", "token": "canary"})

    assert "canary" not in str(raised.value)
    assert "canary" not in str(Some(token=SecretStr("canary")).shown())

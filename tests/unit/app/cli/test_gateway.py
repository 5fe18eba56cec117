from typing import Any

import pytest
from click.testing import CliRunner

from app.cli.gateway import command
from app.observe import logs
from app.settings import SettingsError


def test_help_says_how_to_start_it_and_how_to_use_it() -> None:
    shown = CliRunner().invoke(command, ["--help"]).stdout
    assert all(
        text in shown for text in ("--kafka", "--host", "--port", "--read-model", "curl", "HEADGATE_GATEWAY_TOKEN")
    )


def test_without_a_token_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_GATEWAY_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="openssl rand") as refused:
        CliRunner().invoke(command, ["--port", "0"], standalone_mode=False, catch_exceptions=False)
    assert refused.value.exit_code == 2


def test_a_wrong_port_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match=r"gateway\.port"):
        CliRunner().invoke(command, ["--port", "99999"], standalone_mode=False, catch_exceptions=False)


def test_the_log_of_a_gateway_tells_none_of_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}

    class _Configured(Exception):
        pass

    def configure(**given: Any) -> None:
        told.update(given)
        raise _Configured

    monkeypatch.setattr(logs, "configure", configure)
    monkeypatch.setenv("HEADGATE_GATEWAY_TOKEN", "token-token")
    monkeypatch.setenv("HEADGATE_KAFKA_SASL_PASSWORD", "password")
    with pytest.raises(_Configured):
        CliRunner().invoke(command, ["--port", "0"], standalone_mode=False, catch_exceptions=False)
    assert set(told["secrets"]) == {"token-token", "password"}

"""The options of a source: a pydantic model that each kind makes its own, with a description for every field."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from connectors.base.texts import durations

Seconds = Annotated[
    float,
    BeforeValidator(durations.seconds),
    Field(gt=0, le=366 * 86_400, json_schema_extra={"format": "duration"}),
]
"""A number of seconds, or a duration as people write it: `90s`, `5m`, `1h30m`, `PT1H`."""


def _address(scheme: str) -> AfterValidator:
    """In words of its own: a pattern says little to whoever has forgotten the scheme."""
    form = re.compile(rf"{scheme}s?://\S+")

    def check(value: str) -> str:
        if form.fullmatch(value) is None:
            raise ValueError(f"a URL here begins with {scheme}:// or {scheme}s:// and has no space in it")
        return value

    return AfterValidator(check)


Url = Annotated[str, _address("http"), Field(max_length=4096, json_schema_extra={"pattern": r"^https?://[^\s]+$"})]
SocketUrl = Annotated[str, _address("ws"), Field(max_length=4096, json_schema_extra={"pattern": r"^wss?://[^\s]+$"})]

__all__ = ["Field", "Options", "SecretStr", "Seconds", "SocketUrl", "Url"]


class Options(BaseModel):
    """What all options share: frozen, no name that is not declared, and no value of a secret in any error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    def shown(self) -> dict[str, Any]:
        """As status and logs may show it: secrets are stars."""
        return self.model_dump(mode="json")

"""Every setting of Headgate: meaning, unit, default, and where its value came from.

Later sources win: defaults, `headgate.toml`, `HEADGATE_<GROUP>_<FIELD>`, the command line. An unknown name or a wrong
value in any of them is a `SettingsError` that names the source and the nearest right name. `app.cli` loads them,
`app.wiring` hands each part the group that it needs.
"""

from app.settings.groups import (
    DEV_DEFAULTS,
    DEV_TOKEN,
    FIELDS,
    GROUPS,
    DedupSettings,
    GatewaySettings,
    KafkaSettings,
    LimitSettings,
    LogSettings,
    ReplySettings,
    WorkerSettings,
    shown_default,
    variable,
)
from app.settings.loaded import Settings, http_url, is_loopback, require_gateway_token, require_loopback
from app.settings.problems import Problem, SettingsError

__all__ = [
    "DEV_DEFAULTS",
    "DEV_TOKEN",
    "FIELDS",
    "GROUPS",
    "DedupSettings",
    "GatewaySettings",
    "KafkaSettings",
    "LimitSettings",
    "LogSettings",
    "Problem",
    "ReplySettings",
    "Settings",
    "SettingsError",
    "WorkerSettings",
    "http_url",
    "is_loopback",
    "require_gateway_token",
    "require_loopback",
    "shown_default",
    "variable",
]

"""The webhooks that this gateway receives: for each source of that kind a receiver, made of what `triggers` says.

Secrets are resolved here, in the gateway's own environment. What cannot be made is failed, and tried again when
somebody calls it, for a secret may be there by then.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from app.gateway.limits import TokenBucket
from app.observe import logs
from connectors import webhook
from connectors.base.instance.events import Maker
from connectors.base.instance.watched import Watched
from connectors.base.kinds import mistakes, registry
from connectors.base.metrics import SourceMetrics
from connectors.base.texts import secrets
from connectors.base.texts.filters import FilterError
from connectors.base.texts.templates import TemplateError
from topics.sources import WEBHOOK, WEBHOOKS, Spec, State, Status, webhook_path

KIND: Final = WEBHOOK
PREFIX: Final = WEBHOOKS
AGAIN_SECONDS: Final = 10.0
"""How often secrets in files are read anew, and what could not be made is tried again."""

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where hooks stand: what they are made with."""

    name: str
    """Of this gateway, shown as the owner of its webhooks."""
    event_bytes: int
    environment: secrets.Variables
    secrets_folder: Path | None
    metrics: SourceMetrics = field(default_factory=SourceMetrics)
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a webhook is received with."""

    receiver: webhook.Receiver
    maker: Maker
    bucket: TokenBucket | None


class Hook:
    """One webhook, as long as it is set up in the same way."""

    def __init__(self, spec: Spec, place: Place) -> None:
        self.spec, self._place = spec, place
        self._options: object = None
        self._made: Made | None = None
        self._tried_at = place.clock()
        self._names_files = any(name.startswith("file.") for name in secrets.names(spec.options))
        self.watched = Watched(spec, owner=place.name, delivery=webhook.DELIVERY.value, metrics=place.metrics)
        if spec.paused:
            self.watched.enter(State.PAUSED)
        self._make()

    @property
    def provider(self) -> str:
        """As the options say, wrong or right."""
        return str(self.spec.options.get("provider"))

    @property
    def path(self) -> str:
        """Where it is called."""
        return str(webhook_path(self.spec))

    def made(self) -> Made | None:
        """Return what it is received with, None while it cannot be made."""
        stale = self._made is None or self._names_files
        if stale and self._place.clock() - self._tried_at >= AGAIN_SECONDS:
            self._tried_at = self._place.clock()
            self._make()
        return self._made

    def _make(self) -> None:
        spec, place = self.spec, self._place
        try:
            options, _ = secrets.resolve(
                spec.options, environment=place.environment, folder=place.secrets_folder, where="where the gateway runs"
            )
            if self._made is not None and options == self._options:
                return
            config = webhook.Config.model_validate(options)
            rate = config.rate_per_second
            self._made = Made(
                receiver=webhook.Receiver(config, instance_id=spec.id),
                maker=Maker(spec, max_bytes=place.event_bytes),
                bucket=None if rate is None else TokenBucket(rate, place.clock),
            )
            self._options = options
        except ValidationError as error:
            self._fail(mistakes.in_options(error, registry.load(KIND)))
        except (secrets.UnknownSecret, TemplateError, FilterError) as error:
            self._fail(str(error))
        else:
            if not spec.paused:
                self.watched.connected()

    def _fail(self, reason: str) -> None:
        self._made = None
        self.watched.failed("options", reason, None)
        log.warning("webhook_failed", source=self.spec.id, reason=reason)


class Hooks:
    """All webhooks, by id."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._hooks: dict[str, Hook] = {}
        self.gone: list[str] = []
        """Ids of webhooks that were there, for whoever tells of them."""

    def configure(self, spec: Spec) -> None:
        """A source is set up so. One that is no webhook, or no longer, is none of ours."""
        known = self._hooks.get(spec.id)
        if spec.kind != KIND:
            self._forget(spec.id)
        elif known is None or known.spec.digest != spec.digest:
            self._forget(spec.id)
            self._hooks[spec.id] = Hook(spec, self.place)

    def remove(self, instance_id: str) -> None:
        """A source is there no more."""
        if self._forget(instance_id):
            self.gone.append(instance_id)

    def all(self) -> Iterable[Hook]:
        return self._hooks.values()

    def get(self, instance_id: str) -> Hook | None:
        return self._hooks.get(instance_id)

    def status(self, instance_id: str) -> Status | None:
        """How a webhook is, as far as this gateway has seen."""
        hook = self._hooks.get(instance_id)
        return None if hook is None else hook.watched.status

    def _forget(self, instance_id: str) -> bool:
        gone = self._hooks.pop(instance_id, None)
        if gone is not None:
            gone.watched.forget()
        return gone is not None

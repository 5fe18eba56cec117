"""What the settings say of limits, as engine and runtime want to hear it. Called by `worker`."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from app.engine.values.limits import Limits
from app.kafka import clients, records
from app.kafka.admin import Admin, AdminError
from app.observe import logs
from app.runtime.limits import StepLimits
from app.settings import KafkaSettings, Settings
from app.wiring import sourcelist
from topics import foreign
from topics.patterns import Pattern

SET_UP_SECONDS: Final = 10.0
"""How old may be what is known of how sources are set up."""

log = logs.get(__name__)


def of_partition(settings: Settings) -> Limits:
    """Return what the engine of one partition may take: its share of what the settings give to all."""
    allowed = [Pattern.parse(one) for one in settings.replies.allowed_topics]
    prefix = settings.kafka.prefix

    def reply_allowed(topic: str) -> bool:
        if topic.startswith(prefix) or not foreign.is_topic(topic):
            return False
        return any(one.matches(topic) for one in allowed)

    partitions = settings.kafka.partitions
    return Limits(
        partitions=partitions,
        prefix=prefix,
        workflows_per_event=settings.limits.workflows_per_event,
        event_bytes=settings.limits.event_bytes,
        batch_bytes=settings.limits.batch_bytes,
        result_bytes=settings.limits.result_bytes,
        run_bytes=settings.limits.run_bytes,
        steps_per_run=settings.limits.steps_per_run,
        waits=max(1, settings.limits.waits // partitions),
        waits_per_run=settings.limits.waits_per_run,
        dedup_ids=max(1, settings.dedup.max_ids // partitions),
        asleep_events=max(1, settings.limits.asleep_events // partitions),
        dedup_window_ms=int(settings.dedup.window_hours * 3_600_000),
        start_from_earliest=settings.worker.start_from == "earliest",
        reply_allowed=reply_allowed,
    )


def of_steps(settings: Settings) -> StepLimits:
    """Return what authors' code may hand over."""
    return StepLimits(
        partitions=settings.kafka.partitions,
        event_bytes=settings.limits.event_bytes,
        result_bytes=settings.limits.result_bytes,
        run_bytes=settings.limits.run_bytes,
        steps=settings.limits.steps_per_run,
        suspended=settings.worker.suspended,
        suspended_bytes=settings.limits.queued_bytes // 2,
        send_allowed=of_partition(settings).reply_allowed,
        source_states=partial(_source_states, settings.kafka),
        source_topic=SetUp(settings.kafka).topic_of,
    )


class SetUp:
    """How sources are set up, read again when that was long ago. Asked by steps, in their threads."""

    def __init__(self, kafka: KafkaSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kafka, self._clock = kafka, clock
        self._read_at = -math.inf
        self._topics: Mapping[str, str | None] = {}

    def topic_of(self, instance_id: str) -> str | None:
        """Return the option `topic` of a source; None where it has none, is not set up, or Kafka does not tell."""
        now = self._clock()
        if now - self._read_at > SET_UP_SECONDS or instance_id not in self._topics:
            try:
                self._topics = {name: spec.topic for name, spec in sourcelist.set_up(self._kafka).items()}
            except (clients.KafkaUnreachable, records.TopicMissing, AdminError) as error:
                log.warning("sources_not_known", reason=str(error))
                return None
            self._read_at = now
        return self._topics.get(instance_id)


def _source_states(kafka: KafkaSettings) -> Sequence[Mapping[str, Any]]:
    """Read how all sources are. It blocks; a step asks for it, in a thread."""
    return [one.record() for one in sourcelist.listed(kafka, Admin.connect(kafka)).values()]

"""What the settings say of limits, as engine and runtime want to hear it. Called by `worker`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from app.engine.values.limits import Limits
from app.kafka.admin import Admin
from app.runtime.limits import StepLimits
from app.settings import KafkaSettings, Settings
from app.wiring import sourcelist
from topics import foreign
from topics.patterns import Pattern


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
        suspended=settings.worker.suspended,
        send_allowed=of_partition(settings).reply_allowed,
        source_states=partial(_source_states, settings.kafka),
    )


def _source_states(kafka: KafkaSettings) -> Sequence[Mapping[str, Any]]:
    """Read how all sources are. It blocks; a step asks for it, in a thread."""
    return [one.record() for one in sourcelist.listed(kafka, Admin.connect(kafka)).values()]

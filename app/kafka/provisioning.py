"""Headgate's topics: as they should be, as they are, and what differs. Nothing here alters a topic that exists.

Called by `headgate topics`, `headgate doctor`, and by a worker, which does not start on a wrong partition count.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from app.kafka.admin import Admin, Topic, WantedTopic
from app.settings import KafkaSettings, variable
from topics import catalog


class Severity(Enum):
    """Whether Headgate can work with a difference."""

    FAIL = "fail"
    WARN = "warn"


# With these another than the wanted value loses or refuses records; every other difference is the operator's choice.
_DECISIVE: Final = frozenset({"cleanup.policy", "message.timestamp.type"})
_MISSING: Final = "the topic"
_COUNT: Final = "partitions"
_AT_LEAST: Final = frozenset({"max.message.bytes"})
# In `workflows` the broker's time is only better than the worker's: installations from before it was asked for go on.
_MILD: Final = frozenset({("workflows", "message.timestamp.type")})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing about one topic that is not as it should be."""

    severity: Severity
    topic: str
    what: str
    wanted: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, it should be {self.wanted}. {self.remedy}"


class TopicsError(Exception):
    """Headgate cannot work with the topics as they are; `differences` has every reason."""

    exit_code: Final = 1

    def __init__(self, differences: Sequence[Difference]) -> None:
        super().__init__("\n".join(_sentences(differences)))
        self.differences = tuple(differences)


def _sentences(differences: Sequence[Difference]) -> Iterator[str]:
    """One for each thing to mend: topics that are all missing, or all have the same other count, are one."""
    missing = [one for one in differences if one.what == _MISSING]
    # Not those of topics with a count of their own, for which the setting is no remedy.
    counts = [one for one in differences if one.what == _COUNT and variable("kafka.partitions") in one.remedy]
    together = len(counts) > 1 and len({(one.found, one.wanted) for one in counts}) == 1
    if len(missing) > 1:
        yield f"Topics are missing: {_names(missing)}. {missing[0].remedy}"
    if together:
        setting, prefix = variable("kafka.partitions"), variable("kafka.prefix")
        yield (
            f"{_names(counts)} have {counts[0].found} partitions, the setting kafka.partitions is {counts[0].wanted}. "
            f"Set {setting}={counts[0].found} (the count never changes once a system has run), or begin anew with "
            f"{counts[0].wanted} under another {prefix}"
        )
    told = {id(one) for one in (missing if len(missing) > 1 else []) + (counts if together else [])}
    yield from (str(one) for one in differences if id(one) not in told)


def _names(differences: Sequence[Difference]) -> str:
    return ", ".join(one.topic for one in differences)


def wanted(kafka: KafkaSettings) -> tuple[WantedTopic, ...]:
    """Every topic of the catalog as these settings want it."""
    return tuple(
        WantedTopic(
            name=catalog.qualified(kafka.prefix, name),
            partitions=topic.partitions(kafka.partitions),
            replication_factor=kafka.replication_factor,
            config=catalog.config_of(topic, min_insync_replicas=kafka.min_insync_replicas),
        )
        for name, topic in catalog.CATALOG.items()
    )


def differences(kafka: KafkaSettings, found: Mapping[str, Topic]) -> list[Difference]:
    """Compare what is `found` with what the settings want, topic by topic in the order of the catalog."""
    co_partitioned = {catalog.qualified(kafka.prefix, name) for name, t in catalog.CATALOG.items() if t.co_partitioned}
    counts = {found[name].partitions for name in co_partitioned if name in found}
    mild = {(catalog.qualified(kafka.prefix, name), setting) for name, setting in _MILD}
    several = []
    for topic in wanted(kafka):
        if topic.name not in found:
            several.append(_missing(topic))
        else:
            with_setting = topic.name in co_partitioned and len(counts) == 1
            several += [
                replace(one, severity=Severity.WARN) if (one.topic, one.what) in mild else one
                for one in _compared(topic, found[topic.name], with_setting=with_setting)
            ]
    return several


def apply(admin: Admin, kafka: KafkaSettings) -> tuple[list[str], list[Difference]]:
    """Create the topics that are missing. Returns their names, and what differs afterwards.

    Nothing is created while a topic that exists has the wrong partition count: more topics beside it would be wrong.
    """
    found = admin.topics([topic.name for topic in wanted(kafka)])
    before = differences(kafka, found)
    if any(difference.what == _COUNT for difference in before):
        return [], before
    missing = [topic for topic in wanted(kafka) if topic.name not in found]
    admin.create(missing)
    created = [topic.name for topic in missing]
    return created, [difference for difference in before if difference.topic not in created]


def check(admin: Admin, kafka: KafkaSettings) -> list[Difference]:
    """What differs now."""
    return differences(kafka, admin.topics([topic.name for topic in wanted(kafka)]))


def require(admin: Admin, kafka: KafkaSettings) -> list[Difference]:
    """Return what differs and may. Raises TopicsError where Headgate cannot work with it."""
    found = check(admin, kafka)
    fatal = [difference for difference in found if difference.severity is Severity.FAIL]
    if fatal:
        raise TopicsError(fatal)
    return found


def _missing(topic: WantedTopic) -> Difference:
    return Difference(
        severity=Severity.FAIL,
        topic=topic.name,
        what=_MISSING,
        wanted=f"there, partitions: {topic.partitions}",
        found="missing",
        remedy="Run `headgate topics apply`",
    )


def _compared(topic: WantedTopic, found: Topic, *, with_setting: bool) -> Iterator[Difference]:
    if found.partitions != topic.partitions:
        setting = f"{variable('kafka.partitions')}={found.partitions}"
        remedy = f"If the topics are right, set {setting}: the count never changes once a system has run. "
        yield Difference(
            severity=Severity.FAIL,
            topic=topic.name,
            what=_COUNT,
            wanted=str(topic.partitions),
            found=str(found.partitions),
            remedy=(remedy if with_setting else "")
            + f"For another count begin anew under another {variable('kafka.prefix')}, or, if the topic "
            f"is empty, delete it (`headgate kafka topics --delete --topic {topic.name}`) and run "
            "`headgate topics apply`",
        )
    if found.replication_factor < topic.replication_factor:
        yield Difference(
            severity=Severity.WARN,
            topic=topic.name,
            what="replication factor",
            wanted=str(topic.replication_factor),
            found=str(found.replication_factor),
            remedy="Add copies with `headgate kafka reassign-partitions`, or set "
            f"{variable('kafka.replication_factor')}={found.replication_factor}",
        )
    wrong = {name: value for name, value in topic.config.items() if not _equal(name, value, found.config.get(name))}
    changes = ",".join(f"{name}={value}" for name, value in wrong.items())
    for name, value in wrong.items():
        yield Difference(
            severity=Severity.FAIL if name in _DECISIVE | _AT_LEAST else Severity.WARN,
            topic=topic.name,
            what=name,
            wanted=value,
            found=found.config.get(name, "not set"),
            remedy=f"Run `headgate kafka configs --alter --entity-type topics --entity-name {topic.name} "
            f"--add-config {changes}`",
        )


def _equal(name: str, value: str, found: str | None) -> bool:
    if found is None:
        return False
    if name in _AT_LEAST:
        return int(found) >= int(value)
    return found == value

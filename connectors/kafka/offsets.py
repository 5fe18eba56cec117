"""How far the partitions of a cluster have been read: the position of a `kafka` source, and where each begins. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from aiokafka import TopicPartition

from connectors.kafka.config import Config

Offsets = dict[TopicPartition, int]
"""The offset of the record that is next in each partition."""


def selection_of(config: Config) -> str:
    """Return what names the choice of topics: topics that it finds later are new, those of another choice are not."""
    return config.pattern or ",".join(sorted(config.topics or ()))


def chosen(config: Config, topics: Iterable[str]) -> set[str]:
    """Return which of a cluster's topics are to be read."""
    if config.topics is not None:
        return set(topics) & set(config.topics)
    assert config.pattern is not None
    return {topic for topic in topics if not topic.startswith("__") and fnmatchcase(topic, config.pattern)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A position that was stored."""

    cluster: str
    selection: str
    offsets: Offsets = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As JSON."""
        topics: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in self.offsets.items():
            topics.setdefault(topic, {})[str(partition)] = offset
        return {"cluster": self.cluster, "selection": self.selection, "topics": topics}


def read(position: Any) -> Position | None:
    """Return a position as it was stored, None for what is none."""
    match position:
        case {"cluster": str(cluster), "selection": str(selection), "topics": dict(topics)}:
            offsets = {
                TopicPartition(topic, int(partition)): offset
                for topic, partitions in topics.items()
                for partition, offset in partitions.items()
            }
            return Position(cluster=cluster, selection=selection, offsets=offsets)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Where a partition is read from, and why not from where it was to be."""

    offset: int
    missed: int = 0
    """Records that were there once, at most, and that nobody has read."""
    beyond_end: bool = False
    """The partition ends before the offset that was to be next: it was made anew, or lost its end."""


def resumed(stored: int, first: int, end: int) -> Begun:
    """Go on from a stored offset in a partition whose records are those from `first` until before `end`."""
    if stored < first:
        return Begun(offset=first, missed=first - stored)
    if stored > end:
        return Begun(offset=first, beyond_end=True)
    return Begun(offset=stored)


def initial(config: Config, first: int, end: int, at_time: int | None) -> int:
    """Return where to begin without a position; `at_time` is the offset of the time that the options name."""
    if config.start == "earliest":
        return first
    return end if at_time is None else at_time


def lag_by_topic(offsets: Mapping[TopicPartition, int]) -> list[tuple[str, list[tuple[int, int, str]]]]:
    """Return offsets as a group's commit has them."""
    topics: dict[str, list[tuple[int, int, str]]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        topics.setdefault(topic, []).append((partition, offset, ""))
    return list(topics.items())

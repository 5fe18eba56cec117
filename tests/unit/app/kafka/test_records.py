"""What needs no broker; the rest is in tests/integration/test_admin.py."""

from dataclasses import dataclass

from app.kafka import records
from app.kafka.records import NotWritten, TopicMissing


@dataclass(frozen=True)
class Fetched:
    """A message as the library returns it."""

    at: tuple[int, int]
    time_ms: int

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def timestamp(self) -> tuple[int, int]:
        return (1, self.time_ms)


def test_partitions_are_mixed_by_time_and_each_keeps_its_order() -> None:
    # Partition 0 has producers' times, of which the second is before the first.
    fetched = [Fetched((0, 0), 50), Fetched((0, 1), 10), Fetched((0, 2), 70), Fetched((1, 0), 20), Fetched((1, 1), 60)]
    ordered = [message.at for message in records._by_time(fetched)]  # type: ignore[arg-type, attr-defined]
    assert ordered == [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)]


def test_errors_name_the_topic_and_the_remedy() -> None:
    assert str(TopicMissing("a.events")) == (
        "Topic a.events is missing. Run `headgate topics apply`, or mend kafka.prefix"
    )
    assert str(NotWritten("a.events", "too large")) == (
        "Kafka did not take the record for a.events: too large. `headgate doctor` looks for the cause"
    )
    assert (TopicMissing("a").exit_code, NotWritten("a", "b").exit_code) == (1, 1)

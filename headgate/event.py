"""The events that a workflow receives, and the payload that carries them."""

from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, overload

T = TypeVar("T")


class Event(dict[str, Any], Generic[T]):
    """One event: a plain dict with seven keys, which are readable as attributes as well.

    `event["data"]` and `event.data` are the same. A dict and not a model because one is made per event: 0.1 us.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __getitem__(self, key: Literal["data"], /) -> T: ...
        @overload
        def __getitem__(self, key: Literal["id", "sequence_id", "topic", "created_at"], /) -> str: ...
        @overload
        def __getitem__(self, key: Literal["event_type", "key"], /) -> str | None: ...
        def __getitem__(self, key: str, /) -> Any: ...

    @property
    def id(self) -> str:
        """The producer's id, or `<partition>-<offset>`."""
        return self["id"]

    @property
    def sequence_id(self) -> str:
        """`<partition>-<offset>` in `headgate.events`: grows along a partition, with gaps."""
        return self["sequence_id"]

    @property
    def topic(self) -> str:
        """The logical topic, such as `orders/created`."""
        return self["topic"]

    @property
    def event_type(self) -> str | None:
        """What kind of event it is, where the producer said so."""
        return self["event_type"]

    @property
    def data(self) -> T:
        """What the producer sent; an instance of the model where the payload is typed."""
        return self["data"]

    @property
    def created_at(self) -> str:
        """When it happened: as the producer said, else when Kafka got it. RFC 3339, UTC, milliseconds."""
        return self["created_at"]

    @property
    def key(self) -> str | None:
        """Events with one key are handled in order."""
        return self["key"]


class Payload(TypedDict, Generic[T]):
    """What a workflow function receives: the event that started it, or the batch.

    `Payload[Order]` makes the data of each event an `Order` (a pydantic model, a dataclass, a TypedDict): an event
    whose data does not fit fails its run with status `rejected`, and the reason says where. In a workflow with batches
    it joins none: it becomes a dead letter (`wrong_type`), and the others run.
    """

    events: list[Event[T]]

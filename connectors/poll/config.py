"""The options of a `poll` source: what is asked, which of it are records, and what tells new ones from known ones."""

from typing import Annotated, Any, Final, Literal

from pydantic import model_validator

from connectors.base.contract import Delivery
from connectors.base.options import Field, Options, Seconds, SecretStr, Url
from connectors.poll.budget import MOST_REQUESTS
from connectors.poll.place import place_of

EXAMPLE: Final[dict[str, Any]] = {
    "interval": "1m",
    "rest": {
        "url": "https://api.example.com/v1/orders?per_page=100",
        "headers": {"Authorization": "Bearer {{ env.ORDERS_TOKEN }}"},
        "items": "orders",
        "id": "id",
        "cursor": {"by": "timestamp", "field": "updated_at", "parameter": "updated_since", "overlap": "2m"},
        "paging": {"by": "link"},
    },
}
DELIVERY: Final = Delivery.EXACTLY_ONCE

FieldPath = Annotated[str, Field(pattern=r"^[^\s.]+(\.[^\s.]+)*$", max_length=300)]
"""Where something is in JSON: names and list numbers with dots between them."""
Parameter = Annotated[str, Field(pattern=r"^[^\s&=#]+$", max_length=200)]
_TABLE: Final = r"^[^.\x00]{1,128}(\.[^.\x00]{1,128})?$"
_COLUMN: Final = r"^[^\x00]{1,128}$"


class ByContent(Options):
    """No cursor: every poll reads everything, and an event is what was not there, or not like that, before."""

    by: Literal["content"] = Field(default="content", description="Compare whole records.")


class ById(Options):
    """Ids that only grow: numbers, or texts that sort by time such as ULIDs."""

    by: Literal["id"] = Field(description="Records have ids that only grow.")
    field: FieldPath = Field(default="id", description="Where a record has it.")
    parameter: Parameter | None = Field(
        default=None,
        description="Query parameter that gets the newest known id. None: the answer is not limited by it.",
    )
    start: int | str | None = Field(default=None, description="Where to begin; this id is not read itself.")
    overlap: int = Field(
        default=0, ge=0, le=1_000_000, description="Read so many ids again: those of slow transactions come late."
    )


class ByTimestamp(Options):
    """Times of change. Records of the last `overlap` are read again, and known ones are left out."""

    by: Literal["timestamp"] = Field(description="Records have a time of change.")
    field: FieldPath = Field(description="Where a record has it.")
    parameter: Parameter | None = Field(
        default=None, description="Query parameter that gets the time from which on to answer. None: it is not limited."
    )
    format: Literal["iso", "seconds", "milliseconds"] = Field(
        default="iso", description="How times are written, in records and in the parameter: ISO 8601 or since 1970."
    )
    start: str | int | None = Field(default=None, description="Where to begin, in that format.")
    overlap: Seconds = Field(default=60.0, description="Read this much again: records come late, and share times.")


class ByToken(Options):
    """A token of the server's own that says where its client has read to, and is nothing but that to us."""

    by: Literal["token"] = Field(description="The answer has a token for the next one.")
    field: FieldPath = Field(description="Where the answer has it.")
    parameter: Parameter = Field(description="Query parameter that gets it back.")
    start: str | None = Field(default=None, description="The first token; None: the first request has none.")


class NoPages(Options):
    """One answer is all."""

    by: Literal["none"] = Field(default="none", description="One answer is all.")


class LinkPages(Options):
    """The header Link has the next page (RFC 8288)."""

    by: Literal["link"] = Field(description="The header Link names the next page with rel=next.")


class UrlPages(Options):
    """The answer has the URL of the next page."""

    by: Literal["url"] = Field(description="The answer has the URL of the next page.")
    field: FieldPath = Field(description="Where.")


class TokenPages(Options):
    """The answer has a token for the next page."""

    by: Literal["token"] = Field(description="The answer has a token for the next page.")
    field: FieldPath = Field(description="Where.")
    parameter: Parameter = Field(description="Query parameter that gets it.")


class NumberedPages(Options):
    """Pages have numbers; an empty one is the last."""

    by: Literal["page"] = Field(description="Pages have numbers, and the one after the last is empty.")
    parameter: Parameter = Field(default="page", description="Query parameter with the number.")
    first: int = Field(default=1, ge=0, le=1, description="Number of the first page.")


class OffsetPages(Options):
    """So many records are left out; an empty answer is the last."""

    by: Literal["offset"] = Field(description="A request says how many records to leave out.")
    parameter: Parameter = Field(default="offset", description="Query parameter with that number.")


class CursorPages(Options):
    """Asks again from the last record on, until nothing new comes. The answer has to be in the order of the cursor."""

    by: Literal["cursor"] = Field(
        description="Ask again from the newest record on until nothing new comes. A page has to hold more records than "
        "share one value, and the parameter has to include its value."
    )


Cursor = Annotated[ByContent | ById | ByTimestamp | ByToken, Field(discriminator="by")]
Paging = Annotated[
    NoPages | LinkPages | UrlPages | TokenPages | NumberedPages | OffsetPages | CursorPages, Field(discriminator="by")
]


class Rate(Options):
    """A budget of requests. Sources of one process that ask the same host with the same credentials share one."""

    requests: int = Field(ge=1, le=MOST_REQUESTS, description="So many requests are made.")
    per: Seconds = Field(default=60.0, description="Within this time.")


class Rest(Options):
    """An HTTP API that answers with JSON."""

    url: Url = Field(description="What to ask, with the query parameters that stay the same.")
    method: Literal["GET", "POST"] = Field(default="GET", description="How to ask.")
    headers: dict[str, SecretStr] = Field(default={}, description="Headers of each request, such as Authorization.")
    body: dict[str, Any] | None = Field(default=None, description="JSON that is sent with POST.")
    items: FieldPath | None = Field(
        default=None, description="Where the answer has its records. None: it is a list of them, or one record itself."
    )
    id: FieldPath | None = Field(
        default=None, description="Where a record has its id. None: records are known by their content."
    )
    version: FieldPath | None = Field(
        default=None,
        description="Where a record has what changes with it. None: the time of the cursor, else all of its content.",
    )
    cursor: Cursor = Field(default=ByContent(), description="What tells new records from known ones.")
    paging: Paging = Field(default=NoPages(), description="How to get the next page.")
    newest_first: bool = Field(
        default=False, description="Pages begin with the newest records: the first page without a new one is the last."
    )
    rate: Rate | None = Field(
        default=None,
        description="Most requests of each process, over all its sources with this host and credential; what the "
        "server says counts in any case.",
    )

    @model_validator(mode="after")
    def _fits(self) -> "Rest":
        by, pages = self.cursor.by, self.paging.by
        if by == "token" and pages != "none":
            raise ValueError("a cursor by token brings its own pages; leave paging out")
        if pages == "cursor" and (
            not isinstance(self.cursor, ById | ByTimestamp) or self.cursor.parameter is None or self.newest_first
        ):
            raise ValueError(
                "paging by cursor needs a cursor by id or timestamp with a parameter, and the oldest first"
            )
        if self.newest_first and by not in ("id", "timestamp"):
            raise ValueError("newest_first needs a cursor by id or timestamp")
        if self.body is not None and self.method != "POST":
            raise ValueError("a body is sent with method POST only")
        if self.version is not None and self.id is None and by != "id":
            raise ValueError("version needs id")
        return self


class Sql(Options):
    """A table or view, read only, by a column that only grows."""

    database: SecretStr = Field(
        description="`postgresql://user:password@host:port/name?sslmode=verify-full` (sslmode is disable, prefer, "
        "require or verify-full), or `sqlite:///absolute/path`. Nothing else of what libpq knows is taken, and nothing "
        "from the environment."
    )
    table: str = Field(pattern=_TABLE, description="The table or view, such as `orders` or `shop.orders`.")
    column: str = Field(
        pattern=_COLUMN,
        description="The column that only grows: whole numbers, times (PostgreSQL), or texts by their bytes.",
    )
    id: str | None = Field(
        default=None,
        pattern=_COLUMN,
        description="A unique column that tells rows apart whose column is equal. None: the column is unique itself.",
    )
    overlap: Annotated[float, Field(ge=0, le=366 * 86_400)] | None = Field(
        default=None,
        description="Read this much again, because slow transactions come late: seconds for times, else a difference "
        "of numbers. None: 60 s for times, 100 for numbers, nothing for texts.",
    )
    limit: int = Field(default=500, ge=1, le=10_000, description="Most rows of one query.")
    authority: str | None = Field(
        default=None, description="PEM certificates that verify-full trusts. None: those of the system."
    )

    @model_validator(mode="after")
    def _readable(self) -> "Sql":
        place_of(self.database.get_secret_value())
        return self


class Config(Options):
    """The options of a `poll` source."""

    interval: Seconds = Field(default=60.0, description="Between the beginnings of two polls. They never overlap.")
    rest: Rest | None = Field(default=None, description="An HTTP API to ask. One of rest and sql.")
    sql: Sql | None = Field(default=None, description="A table to read. One of rest and sql.")
    existing: Literal["emit", "skip"] = Field(
        default="emit", description="Make events of what the first poll finds, or only note it."
    )
    event_type: str = Field(default="record", min_length=1, max_length=100, description="The type of the events.")
    max_pages: int = Field(
        default=100, ge=1, le=10_000, description="Most pages of one poll; the next poll goes on where it ended."
    )

    @model_validator(mode="after")
    def _one(self) -> "Config":
        if (self.rest is None) == (self.sql is None):
            raise ValueError("give either rest or sql")
        return self

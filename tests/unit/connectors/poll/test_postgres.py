"""What can be said of PostgreSQL without one: addresses, TLS, parameters, errors. The rest is in tests/peers."""

import ssl
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.poll import times
from connectors.poll.config import Config
from connectors.poll.postgres import PostgresPages, _Column, _Named
from connectors.poll.progress import Progress
from tests.unit.connectors.standing import StandIn


def pages(
    url: str = "postgresql://me:s3cret@db.example/shop", *, site: StandIn | None = None, **more: Any
) -> PostgresPages:
    sql = {"database": url, "table": "orders", "column": "n", **more}
    config = Config.model_validate({"sql": sql})
    assert config.sql is not None
    return PostgresPages(config, config.sql, site or StandIn())


class Forbidding(StandIn):
    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        raise Refused(f"{host} is not allowed", reason="forbidden_address")


async def test_the_address_is_asked_of_the_site() -> None:
    with pytest.raises(Refused) as caught:
        await pages(site=Forbidding()).page(Progress(tag="t"))

    assert "forbidden_address" == caught.value.reason


async def test_a_host_where_nobody_listens_is_not_connected() -> None:
    site = StandIn()
    site.addresses["db.example"] = [("127.0.0.1", 1)]
    with pytest.raises(NotConnected) as caught:
        await pages(site=site).page(Progress(tag="t"))

    assert "refused" == caught.value.reason
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("prefer", (False, ssl.CERT_NONE)),
        ("require", (False, ssl.CERT_NONE)),
        ("verify-full", (True, ssl.CERT_REQUIRED)),
    ],
)
def test_a_mode_says_what_is_verified(mode: str, expected: tuple[bool, ssl.VerifyMode]) -> None:
    context = pages(f"postgresql://me@db.example/shop?sslmode={mode}")._tls()

    assert isinstance(context, _Named)
    assert "db.example" == context.name
    assert expected == (context.check_hostname, context.verify_mode)


def test_without_tls_there_is_no_context() -> None:
    assert pages("postgresql://me@db.example/shop?sslmode=disable")._tls() is False


def test_an_authority_that_is_none_is_refused() -> None:
    with pytest.raises(Refused, match="authority"):
        pages("postgresql://me@db.example/shop?sslmode=verify-full", authority="-----BEGIN")._tls()


@pytest.mark.parametrize(
    ("type_number", "name", "value", "sql", "place", "parameter"),
    [
        (20, "bigint", 7, '"n"', "$2::text::bigint", "7"),
        (25, "text", "x", '"n" COLLATE "C"', "$2::text::text", "x"),
        (2950, "uuid", "u", '"n"', "$2::text::uuid", "u"),
        (
            1184,
            "timestamp with time zone",
            1_000_000,
            '"n"',
            "$2::text::timestamp with time zone",
            "1970-01-01T00:00:01Z",
        ),
    ],
)
def test_a_value_becomes_a_parameter_of_the_type_of_its_column(
    type_number: int, name: str, value: Any, sql: str, place: str, parameter: str
) -> None:
    column = _Column(name="n", type=type_number, type_name=name)

    assert (sql, place, parameter) == (column.sql(), column.place(2), column.parameter(value))


def test_the_future_is_known_for_times_alone() -> None:
    site = StandIn()
    made = pages(site=site)
    assert made.now() is None

    made._columns = (_Column(name="n", type=1184, type_name="timestamptz"), None)
    object.__setattr__(made.policy, "is_time", True)
    assert times.micros(site.now()) == made.now()


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (asyncpg.InvalidPasswordError, Refused, "unauthorized"),
        (asyncpg.InvalidCatalogNameError, Refused, "no_database"),
        (asyncpg.UndefinedTableError, Refused, "table"),
        (asyncpg.InsufficientPrivilegeError, Refused, "permission"),
        (asyncpg.TooManyConnectionsError, NotConnected, "sql_53300"),
        (asyncpg.AdminShutdownError, NotConnected, "sql_57P01"),
        (asyncpg.ReadOnlySQLTransactionError, NotConnected, "sql_25006"),
        (asyncpg.PostgresError, NotConnected, "database"),
    ],
)
def test_an_error_of_the_server_says_who_has_to_mend_it(error: Any, kind: type[Exception], reason: str) -> None:
    found = pages()._translated(error("no"))

    assert type(found) is kind
    assert reason == found.reason
    assert "db.example:5432" in str(found)

"""Tables of a real PostgreSQL: types of columns, transactions that come late, servers that die, TLS, permissions."""

import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from connectors import poll
from connectors.base.contract import NotConnected, Received, Refused
from connectors.base.reach.egress import Policy
from connectors.poll import postgres
from tests.peers.postgres_server import BINARIES, PASSWORD, Server
from tests.unit.connectors.poll.api import Scripted, ids, polled

pytestmark = pytest.mark.skipif(BINARIES is None, reason="PostgreSQL is not installed: apt-get install postgresql")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
async def shop(server: Server) -> AsyncIterator[asyncpg.Connection]:
    """A connection into an empty schema."""
    connection = await connected(server)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    yield connection
    await connection.close()


async def connected(server: Server) -> asyncpg.Connection:
    return await asyncpg.connect(
        host="127.0.0.1", port=server.port, user="me", password=PASSWORD, database="postgres", ssl=False
    )


def config(server: Server, *, database: str | None = None, **more: Any) -> poll.Config:
    own = {name: more.pop(name) for name in ("existing", "max_pages") if name in more}
    sql = {"database": database or server.url(), "table": "orders", "column": "n", "id": "id", **more}
    return poll.Config.model_validate({"interval": 60, "sql": sql, **own})


class Site(Scripted):
    """Between polls something is awaited; names are those of this machine."""

    def __init__(self, *steps: Any, **options: Any) -> None:
        options.setdefault("now", NOW)
        super().__init__(**options)
        self.steps = list(steps)

    async def resolve(self, host: str, port: int) -> Any:
        return [("127.0.0.1", port)]

    async def sleep(self, seconds: float) -> None:
        if not self.steps:
            raise NotConnected("the script is over", reason="over")
        await self.steps.pop(0)()
        self.advance(seconds)


def keys(items: Any) -> list[str]:
    return [str(one.key) for one in items if isinstance(one, Received)]


async def test_rows_are_events_once(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n bigserial, id text)")
    await shop.execute("INSERT INTO orders (id) VALUES ('a')")
    site = Site(lambda: shop.execute("INSERT INTO orders (id) VALUES ('b')"), lambda: shop.execute("SELECT 1"))
    items, end = await polled(config(server), site)

    assert "the script is over" == str(end)
    assert ["a@1", "b@2"] == ids(items)
    assert {"n": 1, "id": "a"} == items[0].data  # type: ignore[union-attr]
    assert 1 == site.connections


VALUES = {
    "smallint": "g / 5",
    "integer": "g / 5",
    "bigint": "g / 5 + 9007199254740993",
    "numeric": "g / 5",
    "numeric(20,0)": "(g / 5)::numeric * 10000000000",
    "timestamptz": "'2026-05-01T00:00:00.123456+02'::timestamptz + (g / 5) * interval '1 microsecond'",
    "timestamp": "'2026-05-01T00:00:00.123456'::timestamp + (g / 5) * interval '1 microsecond'",
    "timestamp(0)": "'2026-05-01T00:00:00'::timestamp + (g / 5) * interval '1 second'",
    "date": "'2026-05-01'::date + g / 5",
    "text": "(ARRAY['B', 'a', 'b', 'ä'])[g / 5 + 1]",
    "varchar(10)": "(ARRAY['B', 'a', 'b', 'ä'])[g / 5 + 1]",
    "uuid": "('0000000' || g / 5 || '-0000-0000-0000-000000000000')::uuid",
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("limit", [1, 3, 5, 100])
async def test_columns_of_all_types_have_equal_values_at_a_page_boundary(
    server: Server, shop: asyncpg.Connection, kind: str, limit: int
) -> None:
    await shop.execute(f"CREATE TABLE orders (n {kind}, id int)")
    insert = f"INSERT INTO orders SELECT {VALUES[kind]}, g FROM generate_series(%s) g"
    await shop.execute(insert % "0, 14")
    await shop.execute("INSERT INTO orders VALUES (NULL, 99)")
    site = Site(lambda: shop.execute(insert % "15, 19"), lambda: shop.execute("SELECT 1"))
    items, end = await polled(config(server, limit=limit), site)

    assert "the script is over" == str(end)
    assert [str(number) for number in range(20)] == keys(items)


@pytest.mark.parametrize("kind", ["text", "uuid", "bigint", "timestamptz"])
async def test_ids_of_all_types_tell_equal_values_apart(server: Server, shop: asyncpg.Connection, kind: str) -> None:
    value = {
        "text": "chr(65 + g)",
        "uuid": "gen_random_uuid()",
        "bigint": "-g",
        "timestamptz": "now() + g * interval '1 s'",
    }[kind]
    await shop.execute(f"CREATE TABLE orders (n int, id {kind})")
    await shop.execute(f"INSERT INTO orders SELECT 1, {value} FROM generate_series(1, 10) g")
    items, _ = await polled(config(server, limit=3), Site())

    assert 10 == len(set(keys(items))) == len(keys(items))


async def test_a_transaction_that_commits_late_loses_nothing(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n bigserial, id text)")
    slow = await connected(server)
    transaction = slow.transaction()
    await transaction.start()
    await slow.execute("INSERT INTO orders (id) VALUES ('slow')")
    await shop.execute("INSERT INTO orders (id) VALUES ('fast')")
    items, _ = await polled(config(server), Site(transaction.commit))
    await slow.close()

    assert ["fast@2", "slow@1"] == ids(items)


async def test_times_of_the_future_do_not_hide_what_comes_before(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n timestamptz, id text)")
    add = "INSERT INTO orders VALUES ($1, $2)"
    await shop.execute(add, NOW, "a")
    await shop.execute(add, NOW + timedelta(days=365), "ahead")
    await shop.execute("INSERT INTO orders VALUES ('infinity', 'never')")
    site = Site(lambda: shop.execute(add, NOW + timedelta(seconds=30), "b"), lambda: shop.execute("SELECT 1"))
    items, _ = await polled(config(server), site)

    assert ["a", "ahead", "never", "b"] == keys(items)
    assert 2 == site.notes["future"]


async def test_what_exists_can_be_skipped_without_reading_it(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n bigserial, id text)")
    await shop.execute("INSERT INTO orders (id) SELECT 'old' || g FROM generate_series(1, 1000) g")
    site = Site(lambda: shop.execute("INSERT INTO orders (id) VALUES ('new')"))
    items, _ = await polled(config(server, existing="skip"), site)

    assert ["new@1001"] == ids(items)
    assert site.heard_bytes < 200


async def test_every_value_of_a_row_is_json(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TYPE mood AS ENUM ('fine'); CREATE TYPE pair AS (a int, b text)")
    await shop.execute(
        "CREATE VIEW orders AS SELECT 1 AS n, 'x' AS id, 12.50::numeric AS price, '\\x00ff'::bytea AS raw, "
        "'{\"a\": [1, null]}'::jsonb AS doc, '[1]'::json AS list, ARRAY[1, NULL] AS many, interval '90 s' AS span, "
        "'10.0.0.0/8'::cidr AS net, '[1,5)'::int4range AS range, 'fine'::mood AS mood, ROW(1, 'b')::pair AS pair, "
        "'NaN'::float8 AS nan, NULL::json AS nothing, '2026-06-01'::date AS day, '00:01'::time AS hour, "
        "'a1b2c3d4-0000-0000-0000-000000000000'::uuid AS uuid, true AS yes, B'101' AS bits, '(1,2)'::point AS point"
    )
    items, _ = await polled(config(server), Site())

    data = items[0].data  # type: ignore[union-attr]
    shown = {
        "price": "12.50",
        "raw": "AP8=",
        "doc": {"a": [1, None]},
        "list": [1],
        "many": [1, None],
        "span": 90.0,
        "net": "10.0.0.0/8",
        "mood": "fine",
        "pair": {"a": 1, "b": "b"},
        "nan": "nan",
        "nothing": None,
        "day": "2026-06-01",
        "hour": "00:01:00",
        "uuid": "a1b2c3d4-0000-0000-0000-000000000000",
        "yes": True,
        "range": {"lower": 1, "upper": 5, "lower_inc": True, "upper_inc": False},
        "bits": "101",
        "point": [1.0, 2.0],
    }
    assert shown == {name: data[name] for name in shown}


async def test_names_of_schemas_tables_and_columns_are_only_names(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute('CREATE SCHEMA "My ""S"; CREATE TABLE "My ""S"."T; DROP" ("A B" int, "C"" OR 1=1" text)')
    await shop.execute('INSERT INTO "My ""S"."T; DROP" VALUES (1, \'one\')')
    items, _ = await polled(config(server, table='My "S.T; DROP', column="A B", id='C" OR 1=1'), Site())

    assert ["one@1"] == ids(items)


async def test_nothing_can_be_written_not_even_by_a_view(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE log (x int)")
    await shop.execute(
        "CREATE FUNCTION write() RETURNS int LANGUAGE sql VOLATILE AS 'INSERT INTO log VALUES (1) RETURNING 1'; "
        "CREATE VIEW orders AS SELECT write() AS n, 'a'::text AS id"
    )
    _, end = await polled(config(server), Site())

    assert isinstance(end, NotConnected)
    assert "sql_25006" == end.reason
    assert 0 == await shop.fetchval("SELECT count(*) FROM log")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"table": "nothing"}, "table"),
        ({"table": "nowhere.orders"}, "table"),
        ({"column": "nothing"}, "column"),
        ({"id": "nothing"}, "column"),
        ({"column": "doc"}, "column"),
        ({"column": "id", "id": None}, "column"),
    ],
)
async def test_what_is_not_there_or_does_not_fit_is_refused(
    server: Server, shop: asyncpg.Connection, more: dict[str, Any], reason: str
) -> None:
    await shop.execute("CREATE TABLE orders (n int, id text, doc json)")
    await shop.execute("INSERT INTO orders VALUES (1, 'a', '1'), (2, 'a', '1')")
    _, end = await polled(config(server, **more), Site())

    assert isinstance(end, Refused)
    assert reason == end.reason


async def test_wrong_credentials_names_and_permissions_are_refused(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n int, id text)")
    await shop.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 's3cret'")
    await shop.execute("GRANT USAGE ON SCHEMA public TO guest")
    reasons = []
    for url in (server.url(password="wrong"), server.url(name="nothing"), server.url(user="guest")):
        _, end = await polled(config(server, database=url), Site())
        assert isinstance(end, Refused)
        assert PASSWORD not in str(end)
        reasons.append(end.reason)

    assert ["unauthorized", "no_database", "permission"] == reasons


async def test_credentials_that_are_revoked_and_given_back_lose_nothing(
    server: Server, shop: asyncpg.Connection
) -> None:
    await shop.execute("CREATE TABLE orders (n bigserial, id text); INSERT INTO orders (id) VALUES ('a')")
    await shop.execute("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 's3cret'")
    await shop.execute("GRANT USAGE ON SCHEMA public TO guest; GRANT SELECT ON orders TO guest")
    options = config(server, database=server.url(user="guest"))
    site = Site()
    first, _ = await polled(options, site)
    await shop.execute("ALTER ROLE guest PASSWORD 'other'; INSERT INTO orders (id) VALUES ('b')")
    _, refused = await polled(options, site)
    await shop.execute("ALTER ROLE guest PASSWORD 's3cret'")
    last, _ = await polled(options, site)

    assert isinstance(refused, Refused)
    assert (["a@1"], ["b@2"]) == (ids(first), ids(last))


async def test_a_server_that_dies_between_two_pages_costs_nothing(server: Server, shop: asyncpg.Connection) -> None:
    await shop.execute("CREATE TABLE orders (n bigserial, id text)")
    await shop.execute("INSERT INTO orders (id) SELECT g::text FROM generate_series(1, 10) g")
    site = Site()
    source, taken = poll.Source(config(server, limit=3), site), []
    items = source.read()
    async for item in items:
        taken.append(item)
        if not isinstance(item, Received):
            site.position = item.position
            break
    server.kill()
    with pytest.raises(NotConnected):
        async for _ in items:
            pass
    with pytest.raises(NotConnected) as caught:
        async for _ in source.read():
            pass
    assert "refused" == caught.value.reason

    server.start()
    after, _ = await polled(config(server, limit=3), site)
    assert [str(number) for number in range(1, 11)] == [*keys(taken), *keys(after)]


async def test_a_query_that_takes_too_long_is_a_timeout(
    server: Server, shop: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "QUERY_SECONDS", 0.2)
    await shop.execute("CREATE VIEW orders AS SELECT 1 AS n, 'a'::text AS id FROM pg_sleep(60)")
    _, end = await polled(config(server), Site())

    assert isinstance(end, NotConnected)
    assert "timeout" == end.reason


async def test_nothing_is_taken_from_the_environment(
    server: Server, shop: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await shop.execute("CREATE TABLE orders (n int, id text)")
    (tmp_path / "pass").write_text(f"*:*:*:*:{PASSWORD}\n")
    (tmp_path / "pass").chmod(0o600)
    for name, value in {
        "PGPASSWORD": PASSWORD,
        "PGPASSFILE": str(tmp_path / "pass"),
        "PGHOST": "/nowhere",
        "PGPORT": "1",
        "PGSSLMODE": "disable",
        "PGTARGETSESSIONATTRS": "standby",
    }.items():
        monkeypatch.setenv(name, value)
    _, with_password = await polled(config(server), Site())
    _, without = await polled(config(server, database=server.url(password="")), Site())

    assert "the script is over" == str(with_password)
    assert isinstance(without, Refused)


async def test_the_egress_policy_decides_where_to_connect(server: Server) -> None:
    class Strict(Site):
        async def resolve(self, host: str, port: int) -> Any:
            return await Policy().resolve(host, port)

    url = server.url().replace("inside.example", "127.0.0.1")
    _, end = await polled(config(server, database=url), Strict())

    assert isinstance(end, Refused)
    assert "forbidden_address" == end.reason


@pytest.mark.parametrize(
    ("tls", "trusts", "encrypted"),
    [
        ("disable", False, False),
        ("prefer", False, True),
        ("require", False, True),
        ("verify-full", True, True),
        ("verify-full", False, None),
    ],
)
async def test_a_connection_is_as_safe_as_its_url_says(
    server: Server, shop: asyncpg.Connection, tls: str, trusts: bool, encrypted: bool | None
) -> None:
    await shop.execute(
        "CREATE VIEW orders AS SELECT 1 AS n, ssl::text AS id FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    )
    authority = server.certificate.read_text() if trusts else None
    items, end = await polled(config(server, database=server.url(tls=tls), authority=authority), Site())

    if encrypted is None:
        assert isinstance(end, NotConnected)
        assert "tls" == end.reason
    else:
        assert [str(encrypted).lower()] == keys(items)


async def test_a_certificate_of_another_name_is_not_trusted(server: Server) -> None:
    url = server.url(tls="verify-full").replace("inside.example", "other.example")
    authority = server.certificate.read_text()
    _, end = await polled(config(server, database=url, authority=authority), Site())

    assert isinstance(end, NotConnected)
    assert isinstance(end.__cause__, ssl.SSLCertVerificationError)

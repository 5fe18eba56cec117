"""Where a database is, by its URL."""

import pytest

from connectors.poll.place import Place, Tls, place_of


def test_a_url_of_postgresql_names_everything() -> None:
    place = place_of("postgresql://me%40work:p%2Fw@db.example:6432/shop%20one?sslmode=verify-full")

    assert place == Place(
        host="db.example", port=6432, user="me@work", password="p/w", name="shop one", tls=Tls.VERIFY_FULL
    )
    assert "p/w" not in repr(place)


def test_what_is_left_out_is_usual() -> None:
    assert place_of("postgres://me@db/shop") == Place(host="db", user="me", name="shop", tls=Tls.PREFER, port=5432)


def test_a_url_of_sqlite_is_an_absolute_path() -> None:
    assert place_of("sqlite:///srv/a%20b.db") == Place(file="/srv/a b.db")
    assert place_of("sqlite:////srv/a%20b.db") == Place(file="/srv/a b.db")


@pytest.mark.parametrize(
    "database",
    [
        "",
        "shop.db",
        "mysql://me@db/shop",
        "postgresql://db/shop",
        "postgresql://me@/shop",
        "postgresql://me@db",
        "postgresql://me@db/",
        "postgresql://me@db:99999/shop",
        "postgresql://me@db/shop?sslmode=allow",
        "postgresql://me@db/shop?host=/var/run/postgresql",
        "postgresql://me@db/shop?sslrootcert=/etc/passwd",
        "postgresql://me@db/shop?service=x",
        "postgresql://me@[db/shop",
        "sqlite:shop.db",
        "sqlite://shop.db",
        "sqlite://host/shop.db",
        "sqlite:///",
        "sqlite:///shop.db?mode=rwc",
        "sqlite:///shop%00.db",
        "sqlite::memory:",
        "file:///etc/passwd",
    ],
)
def test_any_other_url_is_an_error_that_does_not_show_it(database: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        place_of(database.replace("me@", "me:s3cret@"))

    assert "s3cret" not in str(caught.value)

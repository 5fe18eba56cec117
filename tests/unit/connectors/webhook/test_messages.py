"""Requests and what is said to them."""

from connectors.webhook.messages import Denial, Denied
from tests.unit.connectors.webhook.signing import request


def test_every_value_of_a_header_is_found() -> None:
    given = request(b"", {"X-A": "1", "x-a": "2"})
    assert (given.values(b"x-a"), given.values(b"x-b")) == ([b"1", b"2"], [])


def test_headers_are_renamed_where_none_has_that_name() -> None:
    given = request(b"", {"content-type": "a/b", "svix-id": "1"})
    assert given.renamed(b"svix-", b"webhook-").headers == ((b"content-type", b"a/b"), (b"webhook-id", b"1"))
    both = request(b"", {"svix-id": "1", "webhook-id": "2"})
    assert both.renamed(b"svix-", b"webhook-") is both


def test_a_denial_carries_what_is_answered() -> None:
    denial = Denial(401, "code", "fact", remedy="do", headers=(("A", "b"),))
    assert denial.denied == Denied(status=401, code="code", message="fact", remedy="do", headers=(("A", "b"),))
    assert str(denial) == "fact"

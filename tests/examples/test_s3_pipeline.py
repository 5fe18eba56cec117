"""examples/s3_pipeline: what becomes of good and bad uploads, with a bucket that is a dict."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from examples.s3_pipeline import workflows
from examples.s3_pipeline.workflows import sales_report, totals_of
from headgate import Reject
from headgate.testing import Service, crashes

KEY = "incoming/may.csv"
SALES = b"product,amount\ntea,2.50\ncoffee,3\ntea,0.75\n"


class Bucket:
    """As much of a client of S3 as the workflow uses; `broken` requests are answered 500 first."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.broken = 0

    def create_client(self, service: str) -> Any:
        assert service == "s3"
        return _entered(self)

    async def get_object(self, *, Bucket: str, Key: str, IfMatch: str) -> Any:  # noqa: N803 as AWS has it
        status = 412 if IfMatch != "etag-1" else 200 if Key in self.objects else 404
        if self.broken:
            self.broken, status = self.broken - 1, 500
        if status != 200:
            metadata: Any = {"HTTPStatusCode": status}
            raise ClientError({"ResponseMetadata": metadata, "Error": {"Code": str(status)}}, "GetObject")
        return {"Body": _entered(Body(self.objects[Key]))}

    async def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:  # noqa: N803
        self.objects[Key] = Body


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def read(self) -> bytes:
        return self._content


@asynccontextmanager
async def _entered(one: Any) -> AsyncIterator[Any]:
    yield one


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setattr(workflows, "get_session", lambda: made)
    return made


def told(service: Service, etag: str = "etag-1", size: int = 40) -> None:
    data = {"bucket": "b", "key": KEY, "size_bytes": size, "etag": etag, "modified": "2026-01-01T00:00:00Z"}
    service.send("uploads/create", data, key=KEY, id=f"b/{KEY}@{etag}", event_type="create")
    service.advance(minutes=20)


def result(service: Service) -> Any:
    (found,) = service.results()
    assert found.status == "completed"
    return found.result


def test_an_upload_becomes_a_report_and_is_told(bucket: Bucket) -> None:
    bucket.objects[KEY], bucket.broken = SALES, 2
    with Service(sales_report) as service:
        told(service)
        totals = {"coffee": "3", "tea": "3.25"}
        assert result(service) == {"key": KEY, "report": "reports/may.json", "totals": totals}
        assert [one.data["report"] for one in service.events("reports/ready")] == ["reports/may.json"]
        assert b'"tea": "3.25"' in bucket.objects["reports/may.json"]


@pytest.mark.parametrize(
    ("content", "etag", "size", "why"),
    [
        (b"product,price\ntea,1\n", "etag-1", 1, "it has no column amount"),
        (b"product,amount\ntea,1\ntea,much\n", "etag-1", 1, "the amount in line 3 is no number"),
        (b"product,amount\ntea\n", "etag-1", 1, "the amount in line 2 is no number"),
        (b"\xff\xfe\x00", "etag-1", 1, "it is no CSV"),
        (SALES, "etag-2", 1, "it was replaced or deleted meanwhile"),
        (SALES, "etag-1", 1 << 30, "67108864 are allowed"),
    ],
)
def test_what_is_no_report_is_refused_with_its_reason(
    bucket: Bucket, content: bytes, etag: str, size: int, why: str
) -> None:
    bucket.objects[KEY] = content
    with Service(sales_report) as service:
        told(service, etag, size)
        assert why in result(service)["why"]
        assert len(service.events("reports/refused")) == 1
        assert bucket.objects.keys() == {KEY}


def test_amounts_are_money() -> None:
    assert totals_of(b"\xef\xbb\xbfproduct,amount\n" + b"tea,0.1\n" * 3) == {"tea": "0.3"}
    with pytest.raises(Reject, match="line 2"):
        totals_of(b"product,amount\ntea,NaN\n")


def test_a_report_is_told_once_wherever_the_worker_dies(bucket: Bucket) -> None:
    for service in crashes(sales_report):
        bucket.objects = {KEY: SALES}
        told(service)
        assert result(service)["report"] == "reports/may.json"
        assert len({one.id for one in service.events("reports/ready")}) == 1

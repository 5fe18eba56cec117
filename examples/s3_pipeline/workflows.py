"""Uploads to S3: each CSV of sales becomes a report beside it, and whoever wants to know is told.

export UPLOADS_BUCKET=... AWS_DEFAULT_REGION=... AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
headgate dev examples/s3_pipeline examples/s3_pipeline/sources.yaml
"""

import csv
import io
import json
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from pydantic import BaseModel

from headgate import Context, Payload, Reject, StepError, workflow

MOST_BYTES: Final = 64 * 1024 * 1024


class Upload(BaseModel):
    """What the source says of an object that was created or updated."""

    bucket: str
    key: str
    size_bytes: int
    etag: str


@workflow(id="sales_report", trigger_on_event=["uploads/create", "uploads/update"])
async def sales_report(ctx: Context, payload: Payload[Upload]) -> dict[str, Any]:
    """Read an upload, store its report, tell. Versions of one object are handled in their order."""
    upload = payload["events"][0]["data"]
    try:
        totals = await ctx.step.run("read", read, upload, max_retries=10, max_delay=60, timeout=300)
    except StepError as error:
        refused = {"key": upload.key, "why": error.message}
        await ctx.step.publish_event("refuse", topic="reports/refused", data=refused, event_key=upload.key)
        return refused
    report = await ctx.step.run("store", store, upload, totals, max_retries=10, max_delay=60)
    ready = {"key": upload.key, "report": report, "totals": totals}
    await ctx.step.publish_event("tell", topic="reports/ready", data=ready, event_key=upload.key)
    return ready


async def read(upload: Upload) -> dict[str, str]:
    """Download an object and add up what is in it: one step, as what a step returns is kept, and a file is too large.

    It is the version that the event tells of, or none.
    """
    if upload.size_bytes > MOST_BYTES:
        raise Reject(f"it has {upload.size_bytes} bytes, {MOST_BYTES} are allowed")
    try:
        async with get_session().create_client("s3") as s3:
            answer = await s3.get_object(Bucket=upload.bucket, Key=upload.key, IfMatch=upload.etag)
            async with answer["Body"] as body:
                content = await body.read()
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 412):
            raise Reject("it was replaced or deleted meanwhile: that is an event of its own") from None
        raise  # S3 may answer better next time
    return totals_of(content)


def totals_of(content: bytes) -> dict[str, str]:
    """Add up the column `amount` by the column `product`. Raises Reject for what is no CSV of sales."""
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        missing = {"product", "amount"} - set(rows.fieldnames or ())
        if missing:
            raise Reject(f"it has no column {', '.join(sorted(missing))}")
        for row in rows:
            totals[row["product"]] += amount_of(row["amount"], line=rows.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise Reject(f"it is no CSV: {error}") from None
    return {product: str(total) for product, total in sorted(totals.items())}


def amount_of(text: str | None, line: int) -> Decimal:
    """Read an amount of money; a short row has none. Raises Reject."""
    try:
        amount = Decimal(text or "")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise Reject(f"the amount in line {line} is no number")
    return amount


async def store(upload: Upload, totals: dict[str, str]) -> str:
    """Write the report. Written again it is the same object with the same content."""
    key = f"reports/{upload.key.removeprefix('incoming/').removesuffix('.csv')}.json"
    body = json.dumps({"of": upload.key, "etag": upload.etag, "totals": totals}, indent=2).encode()
    async with get_session().create_client("s3") as s3:
        await s3.put_object(Bucket=upload.bucket, Key=key, Body=body, ContentType="application/json")
    return key

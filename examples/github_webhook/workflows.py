"""A webhook of GitHub: pushes are built, new issues get labels. A delivery that GitHub repeats is one event.

export GITHUB_WEBHOOK_SECRET=...
headgate dev examples/github_webhook examples/github_webhook/sources.yaml
"""

from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Event, Payload, StepError, workflow

LABELS: Final = {"crash": "bug", "error": "bug", "slow": "performance", "docs": "documentation", "how ": "question"}


class Repository(BaseModel):
    """Where it happened."""

    full_name: str
    default_branch: str = "main"


class Push(BaseModel):
    """What GitHub says of a push, as far as it matters here."""

    ref: str
    after: str
    deleted: bool = False
    repository: Repository


class Issue(BaseModel):
    """An issue."""

    number: int
    title: str
    body: str | None = None


class Issues(BaseModel):
    """What GitHub says of an issue that was opened, edited, closed …"""

    action: str
    issue: Issue
    repository: Repository


def to_default_branch(event: Event[Push]) -> bool:
    """Whether there is something to build."""
    push = event["data"]
    return push.ref == f"refs/heads/{push.repository.default_branch}" and not push.deleted


async def build(repository: str, commit: str) -> str:
    """Tell whatever builds here; a build may take its time, and be begun again after a crash."""
    if commit.startswith("bad"):
        raise ValueError(f"{commit} does not compile")
    return f"{repository}@{commit[:7]}"


@workflow(id="github_build", trigger_on_event="repo/push", filter=to_default_branch, order="strict")
async def github_build(ctx: Context, payload: Payload[Push]) -> dict[str, Any]:
    """Build a push. One after the other in each repository: the newest is built last."""
    push = payload["events"][0]["data"]
    built: dict[str, Any] = {"commit": push.after}
    try:
        built["image"] = await ctx.step.run("build", build, push.repository.full_name, push.after, timeout=1800)
    except StepError as error:
        built["failed"] = error.message
    await ctx.step.publish_event("tell", topic="builds/finished", data=built, event_key=push.repository.full_name)
    return built


def is_opened(event: Event[Issues]) -> bool:
    """Whether the issue is new."""
    return event["data"].action == "opened"


@workflow(id="github_triage", trigger_on_event="repo/issues", filter=is_opened)
async def github_triage(ctx: Context, payload: Payload[Issues]) -> dict[str, Any]:
    """Choose labels for a new issue."""
    found = payload["events"][0]["data"]
    text = f"{found.issue.title} {found.issue.body or ''}".lower()
    labels = sorted({label for word, label in LABELS.items() if word in text})
    await ctx.step.publish_event("label", topic="issues/labelled", data={"issue": found.issue.number, "labels": labels})
    return {"issue": found.issue.number, "labels": labels}

"""User onboarding with reminders: days of waiting between a few mails, until the user is active or a month is over.

headgate dev examples/onboarding
headgate send users/signed_up '{"id": "ada", "mail": "ada@example.com"}' --key ada
headgate send users/ada/active '{}'
"""

from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Payload, after, event_on, workflow

REMINDERS: Final = ((3, "first-steps"), (7, "what-others-do"), (20, "shall-we-talk"))
"""Days of waiting before a mail, and the mail."""


class User(BaseModel):
    """What `users/signed_up` carries."""

    id: str
    mail: str


@workflow(id="onboarding", trigger_on_event="users/signed_up")
async def onboarding(ctx: Context, payload: Payload[User]) -> dict[str, Any]:
    """Welcome at once, a tip an hour later, then reminders as long as the user has done nothing."""
    user = payload["events"][0]["data"]
    await mail(ctx, user, "welcome")
    await ctx.step.sleep("an-hour", 3600)
    await mail(ctx, user, "tip")
    for days, name in REMINDERS:
        active = event_on(f"users/{user.id}/active")
        _, event = await ctx.step.wait_for_any(f"before-{name}", [active, after(days=days)])
        if event is not None:
            return {"active": True, "since": event.created_at}
        await mail(ctx, user, name)
    return {"active": False}


async def mail(ctx: Context, user: User, template: str) -> None:
    """Ask for a mail. The workflow below sends it, with tries of its own, and holds nobody up."""
    data = {"to": user.mail, "template": template}
    await ctx.step.publish_event(f"mail-{template}", topic="mails/wanted", data=data, event_key=user.id)


def deliver(to: str, template: str, idempotency_key: str) -> str:
    """Hand the mail to a server. Equal keys are one mail to it."""
    return f"{template} to {to}"


@workflow(id="send_mail", trigger_on_event="mails/wanted")
def send_mail(ctx: Context, payload: Payload[dict[str, str]]) -> Any:
    """A plain function: steps are called without await, and may block."""
    wanted = payload["events"][0]["data"]
    return ctx.step.run("deliver", deliver, wanted["to"], wanted["template"], max_retries=10, max_delay=600)

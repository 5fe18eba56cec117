"""A slash command with an approval: `/deploy shop 1.4` asks the channel, and somebody else has to say yes.

export SLACK_APP_TOKEN=xapp-... SLACK_BOT_TOKEN=xoxb-...
headgate dev examples/slack_approval examples/slack_approval/sources.yaml
"""

from datetime import timedelta
from html import escape
from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Event, EventTimeout, Payload, StepError, workflow

SLACK: Final = "slack"
"""The source's id in sources.yaml."""
DECISION: Final = "decision"
PATIENCE: Final = timedelta(hours=4)
BUTTONS: Final = {"approve": ("Deploy", "primary"), "refuse": ("Refuse", "danger")}


class Command(BaseModel):
    """What Slack says of a slash command, as far as it matters here."""

    command: str
    text: str = ""
    user_id: str
    channel_id: str
    response_url: str


def is_deploy(event: Event[Command]) -> bool:
    """Quick and without effects: it is asked for each command of the app."""
    return event["data"].command == "/deploy"


async def roll_out(what: str, idempotency_key: str) -> str:
    """Tell whatever deploys here. It may be asked again after a crash, with the same key."""
    if what.startswith("broken"):
        raise ValueError(f"there is no {what}")
    return f"{what} is live"


@workflow(id="slack_deploy", trigger_on_event="slack/slash_command", filter=is_deploy)
async def slack_deploy(ctx: Context, payload: Payload[Command]) -> dict[str, Any]:
    """Ask, wait for the decision, deploy, tell. The run waits in Kafka: any worker goes on with it."""
    asked = payload["events"][0]["data"]
    what = escape(asked.text.strip(), quote=False)  # else a text such as <!channel> would call everybody
    if not what:
        await tell(ctx, "usage", {"response_url": asked.response_url, "text": "Say what: `/deploy shop 1.4`"})
        return {"refused": "nothing to deploy"}

    question = f"<@{asked.user_id}> wants to deploy *{what}*."
    # Their value comes back with the click: which run waits, and who has asked.
    blocks = [section(question), buttons(value=f"{ctx.run_id} {asked.user_id}")]
    posted = await tell(ctx, "ask", {"channel": asked.channel_id, "text": question, "blocks": blocks})
    try:
        decision = await ctx.step.suspend(DECISION, data={"deploy": what, "by": asked.user_id}, timeout=PATIENCE)
    except EventTimeout:
        decision = {"approved": False, "by": None}

    who = f"<@{decision['by']}>" if decision["by"] else "nobody in time"
    outcome = f"*{what}*, asked by <@{asked.user_id}>: {'approved' if decision['approved'] else 'refused'} by {who}."
    question_there = {"method": "chat.update", "channel": posted["channel"], "ts": posted["ts"]}
    await tell(ctx, "decided", {**question_there, "text": outcome, "blocks": [section(outcome)]})
    if not decision["approved"]:
        return {"refused": who}

    try:
        done = await ctx.step.run("deploy", roll_out, what, max_retries=3)
    except StepError as error:
        done = f"It failed: {escape(error.message, quote=False)}"
    await tell(ctx, "done", {"channel": posted["channel"], "thread_ts": posted["ts"], "text": done})
    return {"deployed": done}


def is_decision(event: Event[Any]) -> bool:
    """Whether it is a click on one of the buttons."""
    return any(one.get("action_id") in BUTTONS for one in event["data"].get("actions") or ())


@workflow(id="slack_decision", trigger_on_event="slack/interactive", filter=is_decision)
async def slack_decision(ctx: Context, payload: Payload[Any]) -> str:
    """Hand a click on to the run that waits for it; the first one counts. Whoever has asked does not decide."""
    click = payload["events"][0]["data"]
    action, user = click["actions"][0], click["user"]["id"]
    run_id, _, asked_by = action["value"].partition(" ")
    if user == asked_by:
        private = {"response_type": "ephemeral", "replace_original": False, "text": "Somebody else has to decide."}
        await tell(ctx, "no", {"response_url": click["response_url"], **private})
        return "not theirs to decide"
    await ctx.step.resume("decide", run_id, DECISION, {"approved": action["action_id"] == "approve", "by": user})
    return str(action["action_id"])


async def tell(ctx: Context, key: str, message: dict[str, Any]) -> Any:
    """Send it through the source, and return Slack's answer. Slack may be away for an hour."""
    return await ctx.sources.send(key, SLACK, message, timeout=3600)


def section(text: str) -> dict[str, Any]:
    """Return a block of text."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def buttons(value: str) -> dict[str, Any]:
    """Return the block of buttons."""
    elements = [
        {
            "type": "button",
            "action_id": name,
            "text": {"type": "plain_text", "text": label},
            "style": style,
            "value": value,
        }
        for name, (label, style) in BUTTONS.items()
    ]
    return {"type": "actions", "elements": elements}

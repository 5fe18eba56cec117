"""Logical topics that Headgate itself reads: `headgate/…`. Any client may produce to them, as to all others.

`headgate/start/<workflow id>` starts a run of that workflow, whatever its triggers: the event's data is what it gets.
`headgate/resume/<run id>/<step key>` resumes a suspended step with the event's data.
`headgate/sources/<id>` and `headgate/sent/<digest>` tell a run how a source is, and what became of its message.
`headgate/cancel` and `headgate/retry` have the id of a run as their event's key: it ends, or goes on if it is stuck.
A pattern meets them only if it names their first segment: `**` does not.
"""

from hashlib import blake2b
from typing import Final

from topics.fields import MAX_TOPIC

HEAD: Final = "headgate"
PREFIX: Final = "headgate/"
START: Final = "headgate/start/"
RESUME: Final = "headgate/resume/"
SOURCES: Final = "headgate/sources/"
SENT: Final = "headgate/sent/"


def start_topic(workflow_id: str) -> str:
    """Return the topic whose events start the workflow."""
    return START + workflow_id


def resume_topic(run_id: str, step_key: str) -> str:
    """Return the topic whose first event resumes the suspended step: derived, so that both sides know it."""
    topic = f"{RESUME}{run_id}/{step_key}"
    if len(topic) <= MAX_TOPIC and step_key.isprintable() and step_key.strip() == step_key and "*" not in step_key:
        return topic
    return f"{RESUME}{run_id}/{blake2b(step_key.encode(), digest_size=16).hexdigest()}"


CANCEL: Final = "headgate/cancel"
"""An event here, with a run's id as its key, cancels that run wherever it is; so does a record with that key and no
value."""
RETRY: Final = "headgate/retry"
"""An event here, with a run's id as its key, lets that run go on if it is stuck."""

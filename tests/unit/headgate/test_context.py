from inspect import signature
from typing import Any

from headgate import Context, Sources, Step


def documented(protocol: Any) -> dict[str, str]:
    return {name: found.__doc__ for name, found in vars(protocol).items() if not name.startswith("_")}


def test_an_author_finds_each_member_of_the_context_explained() -> None:
    assert set(documented(Context)) == {"run_id", "workflow_id", "attempt", "events", "log", "step", "sources"}
    assert all(documented(Context).values())
    assert all(documented(Step).values())
    assert set(documented(Sources)) == {"connect", "wait", "send", "disconnect", "status"}
    assert all(documented(Sources).values())


def test_publish_event_takes_what_the_documentation_shows() -> None:
    shown = signature(Step.publish_event)
    shown.bind(None, "announce", topic="orders/charged", data={"n": 1}, event_type="charged", event_key="c-7")
    assert list(shown.parameters) == ["self", "key", "topic", "data", "event_type", "event_key"]

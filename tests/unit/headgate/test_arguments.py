from typing import Any

import pytest

from headgate import DefinitionError, workflow


def charge(ctx: Any, payload: Any) -> None: ...


async def asynchronous(event: Any) -> bool:
    return True


WHOLE = "; give a whole number from "


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batchsize": 3}, "there is no argument 'batchsize'; write batch_size="),
        ({"retries": 3}, "there is no argument 'retries'; write max_retries="),
        ({"zzz": 3}, "there is no argument 'zzz'; there are: id, trigger_on_event, batch_size"),
        ({"schedule": ""}, "schedule: '' has 0 fields; give five, or six with seconds in front, for example '0 9"),
        ({"schedule": "0 25 * * *"}, "schedule: the hour is '25': '25' is no hour; there are 0 to 23"),
        ({"schedule": "0 9 * * MOM"}, "schedule: the day-of-week is 'MOM': 'MOM' is no day-of-week; did you mean MON?"),
        ({"schedule": True}, "schedule is True; give cron text, for example '0 9 * * MON-FRI', minute hour"),
        ({"schedule": {}}, "schedule has no cron; give text, for example '0 9 * * MON-FRI'"),
        ({"schedule": {"cron": 5}}, "cron of schedule is 5; give text, for example"),
        ({"schedule": {"cron": "@daily", "tz": "UTC"}}, "schedule has no 'tz'; there are: cron, timezone, catch_up"),
        ({"schedule": {"cron": "@daily", "time_zone": "UTC"}}, "schedule has no 'time_zone'; write 'timezone'"),
        ({"schedule": {"cron": "@daily", "timezone": 1}}, "timezone of schedule is 1; give an IANA name, for example"),
        (
            {"schedule": {"cron": "@daily", "timezone": "Europe/Berln"}},
            "schedule: there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        ),
        (
            {"schedule": {"cron": "@daily", "catch_up": "twice"}},
            "catch_up of schedule is 'twice'; there are: 'skip', 'once', 'all'",
        ),
        (
            {"schedule": "@daily", "batch_size": 2},
            "it has a schedule and batch_size above 1, and a scheduled run has one event, of its own; make two",
        ),
        ({"cancel_on": "ord*"}, "cancel_on: '*' stands for a whole segment"),
        ({"cancel_on": []}, "cancel_on is an empty list; name a topic, for example cancel_on='orders/created'"),
        (
            {"cancel_filter": bool},
            "it has cancel_filter and no cancel_on, so there are no events that it could be asked about; add cancel_on",
        ),
        ({"cancel_on": "a", "cancel_filter": "x > 1"}, "cancel_filter is 'x > 1', which cannot be called"),
        (
            {"cancel_on": "a", "batch_size": 2},
            "it has cancel_on and batch_size above 1, and the events of a batch have several keys; add batch_by='key'",
        ),
        ({"on_failure": 5}, "on_failure is 5; give a workflow or its id, for example on_failure='tell_support'"),
        ({"on_failure": "a/b"}, "on_failure is 'a/b'; give a workflow or its id"),
        ({"id": "charge", "on_failure": "charge"}, "on_failure is the workflow itself; name another workflow, which"),
        ({"id": ""}, "the id '' is not made of letters, digits"),
        ({"id": "a:b"}, "the id 'a:b' is not made of letters, digits"),
        ({"id": "a/b"}, "the id 'a/b' is not made of letters, digits"),
        ({"id": "a\n"}, "the id 'a\\n' is not made of letters, digits"),
        ({"id": "-a"}, "the id '-a' is not made of letters, digits"),
        ({"id": 5}, "id is 5, not text; for example id='on_order_created'"),
        ({"id": "x" * 201}, "id has 201 characters; at most 200 are allowed"),
        ({"trigger_on_event": 5}, "trigger_on_event is 5; for example trigger_on_event='orders/created'"),
        ({"trigger_on_event": []}, "trigger_on_event is an empty list; name a topic, for example"),
        ({"trigger_on_event": ""}, "trigger_on_event: a topic cannot be empty"),
        ({"trigger_on_event": "ord*"}, "trigger_on_event: '*' stands for a whole segment"),
        ({"trigger_on_event": ["orders/*", 5]}, "trigger_on_event is ['orders/*', 5]; for example"),
        ({"batch_size": 0}, "batch_size is 0" + WHOLE + "1 to 10000"),
        ({"batch_size": 10_001}, "batch_size is 10001" + WHOLE + "1 to 10000"),
        ({"batch_size": 2.5}, "batch_size is 2.5" + WHOLE),
        ({"batch_size": True}, "batch_size is True" + WHOLE),
        ({"batch_size": "10"}, "batch_size is '10'" + WHOLE),
        ({"batch_size": None}, "batch_size is None" + WHOLE),
        ({"batch_timeout_seconds": 0}, "batch_timeout_seconds is 0; give more than 0 seconds"),
        (
            {"trigger_on_event": "a", "batch_timeout_seconds": 5},
            "batch_timeout_seconds is given and batch_size is 1, so there is no batch that could wait; give batch_size",
        ),
        ({"batch_timeout_seconds": "30"}, "batch_timeout_seconds is '30'; give seconds or a timedelta"),
        (
            {"batch_by": "kye"},
            "batch_by is 'kye'; did you mean batch_by='key'? There are: 'workflow', 'key', 'partition'",
        ),
        ({"batch_by": 5}, "batch_by is 5; there are: 'workflow', 'key', 'partition'"),
        ({"order": "strikt"}, "order is 'strikt'; did you mean order='strict'? There are: 'key', 'strict', 'none'"),
        ({"order": None}, "order is None; there are: 'key', 'strict', 'none'"),
        ({"filter": "x > 1"}, "filter is 'x > 1', which cannot be called; give a function of the event"),
        (
            {"filter": asynchronous},
            "filter is an async function, and the engine does not wait for it; write it with def",
        ),
        ({"filter": lambda: True}, "filter cannot be called with one argument; give a function of the event"),
        ({"max_retries": -1}, "max_retries is -1" + WHOLE + "0 to 1000"),
        ({"timeout": 0}, "timeout is 0; give more than 0 seconds, for example timeout=30, or leave it out for none"),
        ({"timeout": -1.5}, "timeout is -1.5; give more than 0 seconds"),
        ({"timeout": float("nan")}, "timeout is nan; give seconds or a timedelta"),
        ({"timeout": float("inf")}, "timeout is inf, more than ten years; give less, or leave it out for no limit"),
        ({"timeout": True}, "timeout is True; give seconds or a timedelta"),
        ({"version": 2}, "version is 2; give a short text, for example version='2'"),
        ({"version": " "}, "version is ' '; give a short text"),
    ],
)
def test_a_wrong_argument_names_the_workflow_the_place_and_the_remedy(given: dict[str, Any], message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        workflow(**given)(charge)
    name = str(given.get("id") or "charge")
    assert str(raised.value).startswith(f"workflow {name!r} ({__file__}:{charge.__code__.co_firstlineno}): {message}")


def test_arguments_without_a_name_are_the_id_and_the_triggers_only() -> None:
    made: Any = workflow
    assert made("pay", "orders/*")(charge).triggers == ("orders/*",)
    with pytest.raises(DefinitionError, match="too many arguments without a name; name them"):
        made("pay", "orders/*", 10)(charge)
    with pytest.raises(DefinitionError, match="id is given twice; give id once"):
        made("pay", id="pay")(charge)


def test_a_function_whose_name_is_no_id_needs_one() -> None:
    def size(ctx: Any) -> None: ...

    size.__name__ = "größe"
    with pytest.raises(DefinitionError, match="the id 'größe' is not made of letters"):
        workflow(size)
    assert workflow(id="size", trigger_on_event="a")(size).id == "size"

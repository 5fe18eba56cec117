import inspect

import pytest

from headgate import errors
from topics import verdicts


def test_every_error_but_pause_is_a_headgate_error_and_drawn_in_the_tree() -> None:
    for name in errors.__all__:
        found = getattr(errors, name)
        assert name in (errors.__doc__ or "")
        assert issubclass(found, errors.HeadgateError) or found is errors.Pause


def test_the_verdicts_of_an_author_are_those_that_the_runtime_reads() -> None:
    assert errors.Reject is verdicts.Reject
    assert errors.RetryLater is verdicts.RetryLater


def test_except_exception_does_not_swallow_a_pause() -> None:
    def swallowing() -> None:
        try:
            raise errors.Pause
        except Exception:  # noqa: BLE001 - what an author may write is the case in question
            pytest.fail("swallowed")

    with pytest.raises(errors.Pause):
        swallowing()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            errors.EventTimeout("approval", "approvals/42", 60),
            (
                "step 'approval' saw no event on 'approvals/42' within 60 s; "
                "catch EventTimeout to go on without it, or wait longer"
            ),
        ),
        (
            errors.EventTimeout("pause", "", 60),
            (
                "step 'pause' did not come to the time that it waits for within 60 s; "
                "catch EventTimeout to go on without it, or wait longer"
            ),
        ),
        (
            errors.StepError("charge", "ValueError", "no card"),
            "step 'charge' failed with ValueError: no card; catch StepError to go on without it",
        ),
        (
            errors.WorkflowTimeout("charge", "charge:00", 1.5),
            (
                "run 'charge:00' took longer than the 1.5 s that workflow 'charge' allows; "
                "raise timeout= in its @workflow, or make it shorter"
            ),
        ),
        (
            errors.DuplicateStepKey("charge", "shop.py:7", "shop.py:9"),
            (
                "the step key 'charge' is used at shop.py:7 and again at shop.py:9; "
                "give each step of a run a key of its own, in a loop for example f'charge-{item_id}'"
            ),
        ),
        (
            errors.DefinitionError("charge", "shop.py:7", "batch_size is 0", "give a whole number"),
            "workflow 'charge' (shop.py:7): batch_size is 0; give a whole number",
        ),
    ],
)
def test_a_message_has_the_fact_the_names_and_the_remedy(error: errors.HeadgateError, message: str) -> None:
    assert str(error) == message
    parameters = [name for name in inspect.signature(type(error).__init__).parameters if name != "self"]
    assert all(hasattr(error, name) for name in parameters)

from typing import Any

import pytest

from app.engine.inputs import Failure
from app.runtime import failures
from app.runtime.limits import Misuse
from headgate import DuplicateStepKey, Reject, RetryLater


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Reject("no"), Failure("Reject", "no", None, rejected=True)),
        (RetryLater(2, "busy"), Failure("RetryLater", "retry in 2 s: busy", None, retry_after_ms=2_000)),
        (Misuse("wrong"), Failure("Misuse", "wrong", "app.runtime.limits.Misuse: wrong\n", final=True)),
        (ValueError("x"), Failure("ValueError", "x", "ValueError: x\n")),
    ],
)
def test_an_error_means_what_its_class_says(error: Exception, expected: Failure) -> None:
    assert failures.failure_of(error) == expected


def test_a_step_key_that_comes_twice_is_not_tried_again() -> None:
    assert failures.failure_of(DuplicateStepKey("charge", "a.py:1", "a.py:2")).final


def test_the_place_is_in_the_workflows_own_file_where_it_passed_there() -> None:
    def fails(given: Any) -> None:
        raise ValueError(given)

    with pytest.raises(ValueError, match="1") as caught:
        fails(1)
    place = f"{__file__}:{fails.__code__.co_firstlineno + 1}"
    assert failures.place_of(caught.value, __file__) == place
    assert failures.place_of(caught.value, "elsewhere.py") == place
    assert failures.place_of(ValueError(), __file__) is None

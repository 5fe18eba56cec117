"""What a filter says, and what says nothing."""

import asyncio
from typing import Any, cast

import pytest

from headgate import DefinitionError, workflow
from headgate.filters import is_async, passes


class Checks:
    async def __call__(self, _event: Any) -> bool:
        raise NotImplementedError


def test_an_object_whose_call_is_async_is_no_filter() -> None:
    assert is_async(Checks())
    with pytest.raises(DefinitionError, match="filter is an async function"):
        workflow(id="charge", trigger_on_event="orders/created", filter=cast(Any, Checks()))(lambda _ctx: None)


async def test_what_must_be_awaited_is_neither_true_nor_false() -> None:
    answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    with pytest.raises(TypeError, match=r"it returned a .*Future, which nobody awaits"):
        passes(answer)
    assert passes("yes")
    assert not passes(0)

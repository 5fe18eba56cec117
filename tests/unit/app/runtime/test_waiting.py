import asyncio
from contextvars import copy_context
from typing import Any

import pytest

from app.runtime.waiting import Asked, Done, Left, let_tasks_take_steps, waits_only


def asked(key: str, unheeded: dict[str, str] | None = None) -> Asked:
    return Asked(key, {} if unheeded is None else unheeded, loop=asyncio.get_running_loop())


async def test_what_nobody_waited_for_stays_unheeded() -> None:
    unheeded = dict.fromkeys("abcd", "")
    a, b, c, d = (asked(key, unheeded) for key in "abcd")
    a.set_result(1)
    for one in (b, c, d):
        asyncio.get_running_loop().call_soon(one.set_result, 2)

    assert [await a, await asyncio.gather(b)] == [1, [2]]
    assert list(unheeded) == ["c", "d"]
    await asyncio.wait([c])
    assert list(unheeded) == ["d"]


async def alone(one: Asked) -> Any:
    return await one


async def gathered(one: Asked) -> Any:
    return await asyncio.gather(one, alone(asked("b")))


async def grouped(one: Asked) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(alone(one))
        group.create_task(alone(asked("b")))


async def nested(one: Asked) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(gathered(one))


async def event(one: Asked) -> Any:
    await asyncio.Event().wait()


async def gathered_with_more(one: Asked) -> Any:
    await asyncio.gather(one, asyncio.Event().wait())


async def grouped_with_more(one: Asked) -> Any:
    async with asyncio.TaskGroup() as group:
        group.create_task(alone(one))
        group.create_task(event(one))


async def bounded(one: Asked) -> Any:
    await asyncio.wait([one], timeout=60)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        *((one, True) for one in (alone, gathered, grouped, nested)),
        *((one, False) for one in (event, gathered_with_more, grouped_with_more, bounded)),
    ],
)
async def test_a_task_waits_only_if_all_that_it_waits_for_are_steps(fn: Any, expected: bool) -> None:
    task = asyncio.create_task(fn(asked("a")))
    for _ in range(3):
        await asyncio.sleep(0)

    assert waits_only(task) is expected
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_task_that_has_not_begun_does_more_than_wait() -> None:
    task = asyncio.create_task(alone(asked("a")))
    assert not waits_only(task)
    task.cancel()


async def test_a_task_of_a_step_only_waits_also_before_it_has_begun() -> None:
    let_tasks_take_steps(asyncio.get_running_loop())
    task: asyncio.Task[Any] = asyncio.create_task(asked("a"))  # type: ignore[arg-type]
    assert waits_only(task)
    task.cancel()


async def test_tasks_are_made_as_the_factory_of_the_loop_makes_them() -> None:
    made: list[dict[str, Any]] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        made.append(options)
        return asyncio.Task(coro, loop=loop, **options)

    loop, context = asyncio.get_running_loop(), copy_context()
    loop.set_task_factory(factory)
    for _ in range(2):  # several drivers may have one loop
        let_tasks_take_steps(loop)
    assert await asyncio.create_task(Done("x"), name="done", context=context) == "x"  # type: ignore[arg-type]
    assert [one["context"] for one in made] == [context]
    with pytest.raises(TypeError, match="a coroutine was expected"):
        asyncio.create_task(loop.create_future())  # type: ignore[arg-type]  # noqa: RUF006 it never becomes one


async def test_waits_that_were_left_are_told_of_once_their_function_asks_again_or_has_had_its_turns() -> None:
    told: list[tuple[str, bool]] = []
    left = Left(asyncio.get_running_loop(), lambda key, known: told.append((key, known)))
    left.add("a")
    left.flush()
    assert told == [("a", True)]
    left.add("b")
    await asyncio.sleep(0)
    assert told == [("a", True)]
    for _ in range(30):
        await asyncio.sleep(0)
    assert told == [("a", True), ("b", False)]


async def test_a_group_that_is_about_to_hear_of_an_end_does_more_than_wait() -> None:
    loop = asyncio.get_running_loop()
    first, second = Asked("first", {}, loop=loop), Asked("second", {}, loop=loop)

    async def waits(one: Asked) -> None:
        await one

    async def grouped() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits(first))
            group.create_task(waits(second))

    task = asyncio.create_task(grouped())
    for _ in range(3):
        await asyncio.sleep(0)
    assert waits_only(task)
    second.fail(ValueError())
    turns = 0
    while not task.done():
        assert not waits_only(task)
        turns += 1
        await asyncio.sleep(0)
    assert turns > 2
    assert first.cancelled()
    assert isinstance(task.exception(), ExceptionGroup)


async def test_what_comes_late_does_not_come_once_it_has_ended_even_in_the_same_turn() -> None:
    loop = asyncio.get_running_loop()
    ended, waited_for = asked("a"), asked("b")
    told: list[str] = []
    loop.call_later(0, ended.cancel)  # due in the same turn of the loop, before the next two
    ended.later(lambda: told.append("a"), 0)
    waited_for.later(lambda: told.append("b"), 0)

    with pytest.raises(TimeoutError):
        await waited_for.fail_later(TimeoutError(), 0.01)

    assert told == ["b"]

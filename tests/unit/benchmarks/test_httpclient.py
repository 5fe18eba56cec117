"""Connections of the driver: one answer for each request, also when requests wait in line."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from benchmarks import httpclient

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _pool(serve: Serve, *, size: int) -> AsyncIterator[tuple[httpclient.Pool, int]]:
    ended: list[asyncio.Task[None]] = []

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        ended.append(task)
        try:
            await serve(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = httpclient.Pool("127.0.0.1", port, size=size)
    await pool.open()
    yield pool, port
    pool.close()
    await asyncio.gather(*ended)
    server.close()
    await server.wait_closed()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        body = await reader.readexactly(length)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (length, body))


async def test_requests_in_line_get_their_own_answers() -> None:
    got: dict[int, tuple[int, bytes]] = {}
    done = asyncio.Event()
    async with _pool(_echo, size=2) as (pool, port):

        def ask(number: int) -> None:
            def answered(status: int, body: bytes) -> None:
                got[number] = (status, body)
                if len(got) == 5:
                    done.set()

            pool.ask(httpclient.post("127.0.0.1", port, "/", "", b"%d" % number), answered)

        for number in range(5):
            ask(number)
        await asyncio.wait_for(done.wait(), 5)
    assert got == {number: (200, b"%d" % number) for number in range(5)}


async def test_a_lost_connection_is_an_answer_with_status_zero() -> None:
    async def cut(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    lost: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with _pool(cut, size=1) as (pool, port):
        pool.ask(httpclient.post("127.0.0.1", port, "/", "", b"{}"), lambda status, _: lost.set_result(status))
        assert await asyncio.wait_for(lost, 5) == 0


async def test_a_connection_that_the_server_closed_while_it_was_free_is_replaced() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")  # and closes

    async with _pool(once, size=1) as (pool, port):
        for _ in range(3):
            answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            def take(status: int, _body: bytes, answered: asyncio.Future[int] = answered) -> None:
                answered.set_result(status)

            pool.ask(httpclient.post("127.0.0.1", port, "/", "", b""), take)
            assert await answered == 200
            await pool._free[0].closed.wait()

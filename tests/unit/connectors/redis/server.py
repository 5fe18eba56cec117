"""A server that speaks RESP2 as a test wants: for answers that a real Redis gives rarely, or never."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

Answer = Callable[[list[str]], Any]


class Raw(bytes):
    """Bytes that are sent as they are."""


class Failure(str):
    """An error, such as `NOGROUP No such key`."""

    __slots__ = ()


class Nothing:
    """No answer at all."""


def encoded(answer: Any) -> bytes:
    """Return an answer in RESP2."""
    match answer:
        case Raw():
            return bytes(answer)
        case None:
            return b"*-1\r\n"
        case Failure():
            return f"-{answer}\r\n".encode()
        case bool() | int():
            return b":%d\r\n" % answer
        case str():
            return f"+{answer}\r\n".encode()
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
        case Sequence():
            return b"*%d\r\n" % len(answer) + b"".join(map(encoded, answer))
    raise TypeError(answer)


@asynccontextmanager
async def resp_server(answer: Answer, *, tls: SSLContext | None = None) -> AsyncIterator[int]:
    """Answer each command, a list of words, with what `answer` returns; yields the port."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readline()).startswith(b"*"):
                words = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    words.append((await reader.readexactly(size + 2))[:-2].decode())
                said = answer(words)
                if isinstance(said, Nothing):
                    await over.wait()
                    return
                writer.write(encoded(said))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:  # from Python 3.12 on, a server is left only once its connections are closed
            over.set()

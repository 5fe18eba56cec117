"""A process that leaves does not wait for functions that never return."""

import subprocess
import sys

from app.cli.exits import Exit

BEGIN = """
import concurrent.futures, threading
from app.cli import leaving
from app.observe import logs

logs.configure(level="INFO", form="json", secrets=())
began, ends = threading.Event(), threading.Event()
threads = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="workflow")

def plain():
    began.set()
    ends.wait()

threads.submit(plain)
began.wait()
"""


def left(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_function_that_never_returns_is_named_and_left_behind() -> None:
    done = left("threads.shutdown(wait=False)\nleaving.leave()\nprint('not here')\n")

    assert (done.returncode, done.stdout) == (0, "")
    assert '"event":"thread_left_behind"' in done.stderr
    assert '"thread":"workflow_0"' in done.stderr
    assert '"place":"<string>:12"' in done.stderr


def test_threads_that_have_nothing_to_do_are_no_reason() -> None:
    done = left("ends.set()\nthreads.shutdown(wait=False)\nleaving.leave()\nprint('here')\n")

    assert (done.returncode, done.stdout, done.stderr) == (0, "here\n", "")


STUCK = """
import asyncio

async def work():
    reading = asyncio.create_task(asyncio.to_thread(plain))
    await asyncio.sleep(0)
    asyncio.get_running_loop().create_task(asyncio.sleep(3600))
    reading.cancel()

loop = asyncio.new_event_loop()
loop.run_until_complete(work())
threads.shutdown(wait=False)
leaving.close(loop)
"""


def test_a_loop_is_closed_although_a_thread_of_it_never_returns() -> None:
    done = left(STUCK + "leaving.leave()\nprint('not here')\n")

    assert (done.returncode, done.stdout) == (0, "")
    assert "never" not in done.stderr
    assert "pending" not in done.stderr


def test_who_has_failed_ends_with_its_words_and_code_all_the_same() -> None:
    done = left(STUCK + "leaving.leave(ZeroDivisionError('by nothing'))\nprint('not here')\n")

    assert (done.returncode, done.stdout) == (int(Exit.CRASHED), "")
    assert "unexpected error: ZeroDivisionError: by nothing" in done.stderr

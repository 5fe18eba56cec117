"""Places in authors' files, as the log and the words of errors name them."""

import sys
from pathlib import Path
from typing import Final

_STEPS: Final = str(Path(__file__).with_name("steps.py"))


def caller() -> str:
    """Return the file and line of the author's that called a step, for whoever the step called."""
    frame = sys._getframe(3)
    while frame.f_code.co_filename == _STEPS and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def place_of(error: BaseException, source_file: str) -> str | None:
    """Return where an error arose, in the workflow's own file if it passed there."""
    place = None
    own = False
    trace = error.__traceback__
    while trace is not None:
        here = trace.tb_frame.f_code.co_filename == source_file
        if here or not own:
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        own = own or here
        trace = trace.tb_next
    return place

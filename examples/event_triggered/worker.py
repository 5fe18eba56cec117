"""A worker with these workflows, for a Kafka that runs already: start `headgate dev` in another terminal, then

    python worker.py

Options are those of `headgate worker`, such as --instance-id second; settings come from .env or .env.example.
"""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def settings() -> dict[str, str]:
    """Return what .env says, or .env.example where there is no .env."""
    file = next(one for one in (HERE / ".env", HERE / ".env.example") if one.exists())
    lines = (line.strip() for line in file.read_text().splitlines())
    return dict(line.split("=", maxsplit=1) for line in lines if line and not line.startswith("#"))


if __name__ == "__main__":
    headgate = Path(sys.executable).with_name("headgate")
    if not headgate.exists():
        sys.exit(
            f"{sys.executable} has no headgate beside it. Activate the environment that has it (in a clone of the "
            "repository `make setup`, then `. .venv/bin/activate`), and start this again."
        )
    environment = settings() | os.environ  # what the shell says wins
    os.execve(headgate, [str(headgate), "worker", str(HERE / "workflows.py"), *sys.argv[1:]], environment)

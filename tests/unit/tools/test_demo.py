"""The demo's words. It runs in tests/e2e/test_demo.py."""

from typing import Any

from tools import demo


class Watched:
    """What a Watch has seen."""

    def runs_of(self, _sent: demo.Sent) -> dict[str, list[dict[str, Any]]]:
        run = {"run_id": "w:4f1c", "status": "completed", "error": None, "result": {"a": 1}}
        return {"w": [run, run | {"run_id": "w:5e2d", "status": "rejected", "error": {"message": "no"}}]}

    def letter_of(self, _sent: demo.Sent) -> None:
        return None


def test_runs_are_named_by_the_id_that_other_commands_take() -> None:
    caused = demo.caused(Watched(), demo.Sent(what="an event", how="HTTP"))  # type: ignore[arg-type]
    assert caused == ['w:4f1c completed: {"a": 1}', "w:5e2d rejected: no"]

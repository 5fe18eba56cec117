import click
import pytest
from click.testing import CliRunner

from app.cli.groups import Suggesting


@click.group(cls=Suggesting)
def shop() -> None:
    pass


@shop.command()
def order() -> None:
    click.echo("ordered")


@shop.command()
def refund() -> None:
    pass


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("oder", "Error: No such command 'oder'. Did you mean 'order'?"),
        ("xyz", "Error: No such command 'xyz'. Commands are order, refund."),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest_or_all(word: str, answer: str) -> None:
    result = CliRunner().invoke(shop, [word])
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (2, answer)


def test_a_right_word_runs_its_command() -> None:
    assert CliRunner().invoke(shop, ["order"]).stdout == "ordered\n"

"""A request is made of the options that have the names of its fields."""

from dataclasses import dataclass

import click
from click.testing import CliRunner

from gauntlet.options import preset_texts, request
from pipeline.definition.presets import PRESETS


@dataclass(frozen=True, kw_only=True)
class Order:
    size: int
    colour: str = "red"


def test_a_command_takes_the_request_and_the_other_options() -> None:
    taken = []

    @click.command
    @click.option("--size", type=int, required=True)
    @click.option("--loud", is_flag=True)
    @request(Order)
    def order(task: Order, loud: bool) -> None:
        taken.append((task, loud))

    assert CliRunner().invoke(order, ["--size", "3", "--loud"]).exit_code == 0
    assert taken == [(Order(size=3), True)]


def test_presets_are_described_without_being_imported() -> None:
    described = preset_texts()
    assert list(described) == list(PRESETS)
    for name, make in PRESETS.items():
        assert (make.__doc__ or "").startswith(described[name])

"""`gauntlet gates`: its rows, and what its last line says about changing them."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from pushed_versions import push

from components.bound import read_terms
from components.policy import GatesConfig
from components.versions import Card
from gauntlet.cli import main
from pipeline.definition.config import override
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.terms import terms_of
from robustness.config import CheckName


@pytest.mark.parametrize("preset", PRESETS)
def test_every_row_is_a_setting_or_is_said_to_follow_from_one(preset: str, tmp_path: Path) -> None:
    arguments = ["gates", "--preset", preset, "--json", str(tmp_path / "gates.json")]
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0
    *_, last = " ".join(done.output.split()).partition("--set gates.NAME=VALUE changes ")
    (named, rest) = last.split(". ", 1)
    settings = named.split(", ")
    assert settings == [field.name for field in dataclasses.fields(GatesConfig)]
    for gate in json.loads((tmp_path / "gates.json").read_text())["gates"]:
        name = gate["name"]
        assert name in done.output
        follows = re.sub("^champion_.*", "champion_*", name)
        assert name in {*settings, *CheckName} or follows in rest
    assert "so does the serving check" in " ".join(done.output.split())


def test_a_root_shows_its_own_terms_and_what_a_run_would_meet(tmp_path: Path) -> None:
    terms = terms_of(preset("robust"))
    push(tmp_path, "1", Card(model="a", terms=terms.plain()))
    for name, words in (
        ("robust", "A run with preset robust may push here."),
        ("smoke", "A run with preset smoke stops here (exit code 2): this run asks for less"),
        ("fashion", "stops here (exit code 2): the models here are for another purpose"),
    ):
        arguments = ["gates", "--preset", name, "--root", str(tmp_path)]
        done = CliRunner().invoke(main, arguments, env={"COLUMNS": "200"})
        said = " ".join(done.output.split())
        assert done.exit_code == 0
        assert "Gates by the card of version 1: mnist, linf, epsilon 0.2" in said
        assert "gates.toml is gone" in said
        assert "93.00% of the images are right under every attack" in said
        assert words in said


def test_a_root_without_terms_shows_those_of_the_preset(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["gates", "--root", str(tmp_path)], env={"COLUMNS": "200"})
    assert "Gates of preset robust: mnist" in " ".join(done.output.split())


def test_the_terms_as_a_file_for_review(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    arguments = ["gates", "--set", "gates.best=0.01", "--toml", str(file)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert read_terms(file) == terms_of(override(preset("robust"), ["gates.best=0.01"]))


def test_a_reviewed_file_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    arguments = ["gates", "--toml", str(file), "--set"]
    for _ in range(2):
        assert CliRunner().invoke(main, [*arguments, "gates.best=0.01"]).exit_code == 0
    before = file.read_bytes()
    done = CliRunner().invoke(main, [*arguments, "gates.best=0.02"])
    assert done.exit_code == 2
    assert "gates.toml is there and says otherwise" in " ".join(done.output.split())
    assert file.read_bytes() == before

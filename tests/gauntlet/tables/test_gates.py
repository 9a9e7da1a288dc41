"""`gauntlet gates`: its rows, and what its last line says about changing them."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from gauntlet.cli import main
from pipeline.definition.config import GatesConfig
from pipeline.definition.presets import PRESETS
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
    for gate in json.loads((tmp_path / "gates.json").read_text()):
        name = gate["name"]
        assert name in done.output
        follows = re.sub("^champion_.*", "champion_*", name)
        assert name in {*settings, *CheckName} or follows in rest
    assert "so does the serving check" in " ".join(done.output.split())

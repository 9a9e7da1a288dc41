"""`gauntlet config`, and the file of settings that every command with settings takes."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gauntlet.cli import main
from pipeline.definition.presets import preset
from pipeline.definition.settings import all_settings, has


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, list(arguments))


def rows(output: str) -> dict[str, list[str]]:
    """Cells of the table by the name of the setting."""
    lines = (line.strip().strip("│").split("│") for line in output.splitlines() if "│" in line)
    return {name.strip(): [cell.strip() for cell in cells] for name, *cells in lines}


def test_all_settings_are_shown_with_what_differs() -> None:
    result = run("config", "--preset", "smoke", "--set", "trainer.epochs=3")
    assert result.exit_code == 0
    shown = rows(result.output)
    assert shown["trainer.epochs"] == ["3", "5", "2"]
    assert shown["data.train"] == ["train[:3000]", "train[:55000]", ""]
    assert shown["data.shards"] == ["8", "", ""]
    recipe = preset("smoke")
    assert set(shown) >= {name for name, each in all_settings().items() if has(recipe, each)}
    assert "recipe.beta" not in shown
    assert "tuner.epochs does nothing with tuner.trials=0" in result.output


def test_json_is_all_that_goes_to_standard_output() -> None:
    result = run("config", "--preset", "smoke", "--json", "settings.json")
    assert result.exit_code == 0
    found = json.loads(Path("settings.json").read_text())
    assert found["preset"] == "smoke"
    by_name = {setting["name"]: setting for setting in found["settings"]}
    assert by_name["trainer.epochs"]["value"] == 2
    assert by_name["trainer.epochs"]["told"][-1] == "Trainer.robust"
    assert by_name["tuner.epochs"]["unused_with"] == "tuner.trials=0"


def test_what_is_written_is_read_by_itself() -> None:
    first = run("config", "--preset", "tutorial", "--set", "seed=9", "--write", "gauntlet.toml")
    assert first.exit_code == 0
    result = run("config", "--json", "settings.json")
    assert "settings from ./gauntlet.toml" in result.output
    assert rows(result.output)["seed"] == ["9", "0", "0"]
    assert json.loads(Path("settings.json").read_text())["preset"] == "tutorial"
    assert "settings from" not in run("config", "--config", "/dev/null").output


@pytest.mark.parametrize("config", [[], ["--config", "/dev/null"]], ids=["read", "not read"])
def test_no_file_is_written_over(config: list[str]) -> None:
    Path("gauntlet.toml").write_text("seed = 9  # my own\n")
    Path("link.toml").symlink_to("gauntlet.toml")
    for name in ("gauntlet.toml", "link.toml"):
        result = run("config", *config, "--write", name)
        assert result.exit_code == 2
        assert f"{name}: there already, and its comments and presets would be gon" in result.output
    assert Path("gauntlet.toml").read_text() == "seed = 9  # my own\n"
    assert run("config", "--write", "/dev/stdout").exit_code == 0, "which is no file"


def test_the_file_is_not_named_where_it_is_not_read() -> None:
    Path("gauntlet.toml").write_text("seed = 9\n")
    result = run("config", "explain", "trainer.schedule")
    assert result.exit_code == 0
    assert "settings from" not in result.output


def test_where_settings_come_from_is_as_loud_as_the_rest() -> None:
    """The run ends at a value that no gate can have, after the file was read."""
    Path("gauntlet.toml").write_text("seed = 9\n")
    call = ("run", "--dry-run", "--root", "r", "--set", "gates.clean=2")
    said = "settings from ./gauntlet.toml"
    assert said in run(*call).stderr
    assert said not in run(*call, "--quiet").output
    line, *_ = run(*call, "--log-json").stderr.splitlines()
    assert json.loads(line)["message"] == said


def test_what_the_file_overrides_of_a_named_preset_is_said() -> None:
    Path("gauntlet.toml").write_text(
        'preset = "tutorial"\n[trainer]\nepochs = 9\nbatch_size = 32\n[recipe]\nname = "pgd"\n'
        '[presets.quick]\npreset = "smoke"\n'
    )
    output = run("config", "--preset", "smoke").stderr
    assert "gauntlet.toml wins over preset smoke: trainer.epochs, recipe.name; --config" in output
    for other in ([], ["--preset", "tutorial"], ["--preset", "quick"]):
        assert "wins over preset" not in run("config", *other).stderr
    assert "wins over" not in run("config", "--preset", "smoke", "--config", "/dev/null").stderr


def test_a_file_that_is_there_and_cannot_be_read_is_no_missing_one() -> None:
    Path("gauntlet.toml").symlink_to("gone.toml")
    result = run("gates")
    assert result.exit_code == 2
    assert "gauntlet.toml: cannot be read: No such file" in result.output


@pytest.mark.parametrize("command", [["config"], ["gates"], ["run", "--root", "r"]])
def test_every_command_with_settings_takes_the_file(command: list[str]) -> None:
    Path("gauntlet.toml").write_text("[trainer]\nepoch = 3\n")
    Path("other.toml").write_text("[trainer]\nepochs = 0\n")
    compile = ["compile", "--target", "vertex", "--image", "i", "--pipeline-root", "gs://b"]
    for call in (command, [*compile, "--output", "o"]):
        result = run(*call)
        assert result.exit_code == 2
        assert "gauntlet.toml: unknown setting 'trainer.epoch': did you mean" in result.output
        result = run(*call, "--config", "other.toml")
        assert result.exit_code == 2
        assert "other.toml: trainer.epochs=0: expected a whole number, at leas" in result.output
    assert run(*command, "--config", "gone.toml").exit_code == 2


def test_a_preset_of_ones_own_is_shown_under_its_name() -> None:
    Path("gauntlet.toml").write_text(
        '[presets.quick]\npreset = "smoke"\n[presets.quick.gates]\nclean = 0.5\n'
    )
    result = run("gates", "--preset", "quick")
    assert "Gates of preset quick" in result.output
    assert ">= 50.00%" in result.output
    assert rows(run("config", "--preset", "quick").output)["gates.clean"] == ["0.5", "0.98", "0.8"]


def test_a_setting_is_explained() -> None:
    text = " ".join(run("config", "explain", "trainer.schedule").output.split())
    assert text.startswith("trainer.schedule course of the learning rate. values one of constant")
    assert "cosine: a short climb" in text
    assert "robust, record, fashion: cosine tutorial, smoke: constant" in text
    assert text.endswith("told to FrontTuner, Trainer.robust")
    assert "only with   recipe.name=sabr" in run("config", "explain", "box").output
    assert "unused with tuner.trials=0" in run("config", "explain", "tuner.epochs").output


def test_a_section_is_explained() -> None:
    output = run("config", "explain", "threat").output
    assert output.startswith("threat: All images within `epsilon` of the original")
    assert "\n\nthreat.norm\n" in output
    assert "\n\nthreat.epsilon\n" in output


def test_a_name_that_is_no_setting() -> None:
    result = run("config", "explain", "trainer.schedul")
    assert result.exit_code == 2
    assert "did you mean trainer.schedule?" in result.output

"""What a file of settings decides of `check` and `evaluate`."""

import dataclasses
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from components.policy import OPEN
from foundation.errors import ConfigError
from gauntlet.check.asked import Minimums, asked, checks_beside
from gauntlet.commands.check import check
from gauntlet.commands.evaluate import evaluate
from gauntlet.evaluation.task import EvaluationTask
from gauntlet.file_defaults import file_option
from gauntlet.options import voice_options
from pipeline.definition.presets import preset
from robustness.config import CheckName, Norm
from robustness.suites import SuiteName

FILE = """\
seed = 7
[data]
dataset = "./pets"
test = "test[:9]"
resize = [8, 9]
[threat]
norm = "l2"
epsilon = 0.5
[attack]
suite = "autoattack"
names = ["pgd"]
checks = false
[gates]
clean = 0.8
worst_class = 0.3
checks = []
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(like: click.Command, *arguments: str) -> tuple[dict[str, Any], str]:
    """The options that a command is called with, and what is said of them."""
    found: dict[str, Any] = {}

    @voice_options
    @file_option
    def command(**given: Any) -> None:
        found.update(given)

    own = list(command.__click_params__)  # type: ignore[attr-defined]
    names = {each.name for each in own}
    params = [each for each in like.params if each.name not in names]
    result = CliRunner().invoke(
        click.Command("like", callback=command, params=params + own),
        ["model.keras", *arguments],
        standalone_mode=False,
    )
    if result.exception:
        raise result.exception
    return found, result.stderr


def test_the_file_decides_what_the_command_line_does_not_say() -> None:
    Path("gauntlet.toml").write_text(FILE)
    found, said = options(check)
    assert (found["dataset"], found["split"], found["resize"]) == ("./pets", "test[:9]", (8, 9))
    assert (found["norm"], found["epsilon"], found["seed"]) == (Norm.L2, 0.5, 7)
    assert (found["suite"], found["attacks"]) == (SuiteName.AUTOATTACK, ("pgd",))
    assert found["checks"], "only --no-checks leaves them out"
    assert found["file_gates"] == {"clean": 0.8, "worst_class": 0.3}
    assert said == (
        "settings from ./gauntlet.toml: data.dataset=./pets, data.test=test[:9], data.resize=8,9, "
        "threat.norm=l2, threat.epsilon=0.5, attack.suite=autoattack, attack.names=pgd, "
        "seed=7, gates.clean=0.8, gates.worst_class=0.3\n"
    )
    found, _ = options(evaluate)
    assert found["epsilons"] == (0.5,)
    assert "file_gates" not in found


@pytest.mark.parametrize(
    ("given", "option", "value"),
    [
        (["--epsilon", "0.1"], "epsilons", (0.1,)),
        (["--epsilon", "0.1", "--epsilon", "0.2"], "epsilons", (0.1, 0.2)),
        (["--attacks", "fgsm"], "attacks", ("fgsm",)),
        (["--no-checks"], "checks", False),
        (["--split", "train"], "split", "train"),
        (["--norm", "linf"], "epsilons", ()),
        (["--norm", "l2"], "epsilons", (0.5,)),
        (["--dataset", "./cars"], "resize", None),
        (["--dataset", "./cars"], "split", "test"),
        (["--dataset", "./pets"], "resize", (8, 9)),
        (["--dataset", "./pets/../pets/"], "resize", (8, 9)),
        (["--suite", "fast"], "attacks", ()),
        (["--config", "/dev/null"], "epsilons", ()),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else None,
)
def test_the_command_line_wins(given: list[str], option: str, value: Any) -> None:
    """And nothing is taken that was said of other data, another norm or another suite."""
    Path("gauntlet.toml").write_text(FILE)
    Path("pets").mkdir()
    assert options(evaluate, *given)[0][option] == value


def test_what_is_not_taken_is_named() -> None:
    Path("gauntlet.toml").write_text(FILE)
    _, said = options(evaluate, "--dataset", "./cars")
    assert said.endswith(
        "Note: ./gauntlet.toml is about something else, so not taken: data.test, data.resize\n"
    )
    assert "Note" not in options(evaluate)[1]


def test_a_minimum_below_the_gate_of_the_file_is_refused() -> None:
    task = EvaluationTask(model=Path("m"), output=Path("o"))
    lower = dataclasses.replace(wanted(clean=0.8), min_clean=0.5)
    with pytest.raises(ConfigError, match=r"--min-clean 0\.5 asks for less than the settings file"):
        asked(task, lower, frozenset())
    higher = dataclasses.replace(wanted(clean=0.8), min_clean=0.9)
    gates = asked(task, higher, frozenset()).gates
    assert gates
    assert gates.clean == 0.9


def test_under_reviewed_gates_the_file_is_not_read() -> None:
    Path("gauntlet.toml").write_text(FILE)
    Path("gates.toml").touch()
    found, said = options(check, "--gates", "gates.toml")
    assert (found["dataset"], found["epsilon"], found["file_gates"]) == ("mnist", None, {})
    assert not said
    with pytest.raises(ConfigError, match="decides what --config sets; leave one of them"):
        options(check, "--gates", "gates.toml", "--config", "gauntlet.toml")
    options(check, "--gates", "gates.toml", "--config", "/dev/null")


def test_a_preset_that_the_file_names_decides_data_and_threat_and_nothing_else() -> None:
    Path("mine.toml").write_text('preset = "own"\n[presets.own]\npreset = "fashion"\n')
    found, _ = options(check, "--config", "mine.toml")
    assert (found["dataset"], found["epsilon"]) == ("fashion_mnist", preset("fashion").threat.epsilon)  # fmt: skip # noqa: E501
    assert found["file_gates"] == {}
    Path("mine.toml").write_text('preset = "smoke"\n')
    found, _ = options(check, "--config", "mine.toml")
    assert (found["split"], found["attacks"]) == ("test", ()), "all images, and our attacks"
    Path("mine.toml").write_text("[trainer]\nepochs = 3\n")
    assert options(check, "--config", "mine.toml")[0]["epsilon"] is None, "nobody named a preset"


def test_the_configuration_of_a_run_decides_all() -> None:
    Path("config.json").write_text(preset("smoke").to_json())
    found, said = options(check, "--config", "config.json")
    assert (found["split"], found["epsilon"]) == ("test[:500]", 0.2)
    assert found["file_gates"]["clean"] == preset("smoke").gates.clean
    assert "config.json: data.test=test[:500]" in said


def test_what_is_taken_is_as_loud_as_the_rest() -> None:
    Path("gauntlet.toml").write_text(FILE)
    assert not options(evaluate, "--quiet")[1]
    assert (
        '"message": "settings from ./gauntlet.toml: data.da' in options(evaluate, "--log-json")[1]
    )


def wanted(**gates: Any) -> Minimums:
    nothing = {"min_clean": None, "min_worst_case": None, "min_certified": None}
    return Minimums(**nothing, gates_file=None, file_gates=gates)  # type: ignore[arg-type]


def test_a_check_judges_by_the_gates_of_the_file() -> None:
    task = EvaluationTask(model=Path("m"), output=Path("o"))
    gates = asked(task, wanted(worst_class=0.3, champion=0.025), frozenset()).gates
    assert gates
    assert (gates.clean, gates.worst_class, gates.champion) == (0.0, 0.3, 0.025)
    assert gates.checks == tuple(CheckName), "of which a file takes none away"
    for gate in ("fgsm", "transfer_fgsm", "transfer"):
        with pytest.raises(ConfigError, match=f"asks for gates.{gate}, which only a run measures"):
            asked(task, wanted(**{gate: 0.5, "clean": 0.5}), frozenset())
    with pytest.raises(ConfigError, match="say what the model must reach"):
        asked(task, wanted(champion=0.025), frozenset())


@pytest.mark.parametrize(
    ("gates", "asks"),
    [({"clean": 0.5}, False), ({"certified": 0.5}, False), ({"worst_case": 0.5}, True),
     ({"worst_class": 0.5}, True), ({"white_box": 0.5}, True), ({"gap": 0.5}, True)],
)  # fmt: skip
def test_convergence_is_asked_where_a_bound_depends_on_attacks(
    gates: dict[str, float], asks: bool
) -> None:
    beside = checks_beside(dataclasses.replace(OPEN, **gates))
    assert (CheckName.ATTACK_HAS_CONVERGED in beside) is asks

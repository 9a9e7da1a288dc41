"""`gauntlet check`: a healthy, a fragile and a masked model; and what it refuses to begin."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pydantic
import pytest
import tensorflow as tf
import yaml
from click.testing import CliRunner
from small_classifier import LINEAR_EPSILON as EPSILON
from small_classifier import linear_model
from small_data import prepare_small
from small_world import SHAPE

from components.adversarial_example_gen.config import AttackConfig
from components.bound import write_terms
from components.evaluator.explained import Explanation
from components.policy import OPEN, GatesConfig, Policy, Purpose, Terms, efforts_of
from foundation.errors import ConfigError
from gauntlet.check.asked import Minimums, asked
from gauntlet.cli import main
from gauntlet.evaluation.task import EvaluationTask
from robustness.config import CheckName, Norm

CI = Path(__file__).parents[3] / "ci"

GAUNTLET = [sys.executable, "-c", "from gauntlet.cli import main; main()"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return prepare_small(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """healthy.keras, and a SavedModel `masked` of it that sees rounded pixels: no gradient reaches
    them, so gradient attacks find nothing."""
    folder = tmp_path_factory.mktemp("models")
    model = linear_model()
    model.save(folder / "healthy.keras")
    module = tf.Module()
    module.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32)])
    def serve(x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(tf.round(x * 8.0) / 8.0, training=False)}

    tf.saved_model.save(module, str(folder / "masked"), {"serving_default": serve})
    return folder


def check(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GAUNTLET, "check", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def outputs(folder: Path) -> list[str]:
    files = {"--junit": "g.xml", "--sarif": "g.sarif", "--json": "g.json"}
    return [word for option, name in files.items() for word in (option, str(folder / name))]


def verdicts(folder: Path) -> dict[str, str]:
    """What each gate says in a word, the same in all three files."""
    found = json.loads((folder / "g.json").read_text())
    assert found["schema"] == "gauntlet/check/1"
    (result,) = found["evaluation"]["results"]
    explanations = pydantic.TypeAdapter(list[Explanation]).validate_python(result["gates"])
    gates = {gate.name: str(gate.word) for gate in explanations}
    (run,) = json.loads((folder / "g.sarif").read_text())["runs"]
    assert {r["ruleId"]: KINDS[r["kind"]] for r in run["results"]} == gates
    (suite,) = ElementTree.parse(folder / "g.xml").getroot()
    cases = {case.get("name"): said(case) for case in suite.iter("testcase")}
    assert {name: word for name, word in cases.items() if name in gates} == gates
    assert found["passed"] is ("refused" not in gates.values() and not result["undone"])
    return gates


KINDS = {
    "pass": "passed",
    "fail": "refused",
    "informational": "reported",
    "notApplicable": "does not apply",
}


def said(case: ElementTree.Element) -> str:
    """A test case of JUnit as a word."""
    if case.find("failure") is not None:
        return "refused"
    skipped = case.find("skipped")
    return "passed" if skipped is None else skipped.attrib["message"].partition(":")[0]


def test_a_healthy_model_passes_and_a_higher_minimum_refuses_it(
    models: Path, data: str, tmp_path: Path
) -> None:
    common = (str(models / "healthy.keras"), "--dataset", "small", "--data-dir", data)
    asked = ("--epsilon", str(EPSILON), "--min-clean", "0.85", "--min-worst-case", "0.6")
    done = check(tmp_path, *common, *asked, *outputs(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    gates = verdicts(tmp_path)
    assert gates["transfer_finds_no_more"] == "does not apply", "no other model was given"
    assert gates["certified"] == "reported", "nobody asked for a share"
    assert list(gates.values()).count("passed") == 12
    assert "Passed: 12 gates hold (reported: 1; does not apply: 2)." in done.stdout
    summary = tmp_path / "summary.md"
    higher = (*common, *asked[:-1], "0.9", "--github", *outputs(tmp_path))
    done = check(tmp_path, *higher, GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 3, done.stdout + done.stderr
    refused = [name for name, word in verdicts(tmp_path).items() if word == "refused"]
    assert refused == ["worst_case"]
    assert "Refused by worst_case." in done.stdout
    assert "::error title=worst_case::75.83%25 of 120 images" in done.stdout
    assert "| worst_case | **refused** |" in summary.read_text()
    assert (
        json.loads((tmp_path / "g.json").read_text())["evaluation"]["results"][0]["seconds"] < 5.0
    ), "verdicts are kept"


def test_a_file_of_settings_says_what_is_asked(models: Path, data: str, tmp_path: Path) -> None:
    file = f'data.dataset = "small"\nthreat.epsilon = {EPSILON}\ngates = {{ clean = 0.99 }}\n'
    (tmp_path / "gauntlet.toml").write_text(file)
    common = (str(models / "healthy.keras"), "--data-dir", data, "--attacks", "fgsm")
    done = check(tmp_path, *common)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Refused by clean." in done.stdout
    assert "settings from ./gauntlet.toml: data.dataset=small, threat.epsilon=" in done.stderr
    done = check(tmp_path, *common, "--min-clean", "0.85")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "--min-clean 0.85 asks for less than the settings file, 0.99" in done.stderr


def test_a_masked_model_is_refused_by_the_signs_of_a_fake_number(
    models: Path, data: str, tmp_path: Path
) -> None:
    arguments = ("--dataset", "small", "--data-dir", data, "--attacks", "fgsm,pgd:20")
    minimum = ("--epsilon", str(EPSILON), "--min-worst-case", "0.9")
    done = check(tmp_path, str(models / "masked"), *arguments, *minimum, *outputs(tmp_path))
    assert done.returncode == 3, done.stdout + done.stderr
    gates = verdicts(tmp_path)
    assert gates["worst_case"] == "passed", "by the numbers it is robust"
    assert gates["gradients_are_not_zero"] == "refused"
    assert gates["black_box_finds_no_more"] == "refused"


def test_what_the_time_did_not_suffice_for_does_not_pass(
    models: Path, data: str, tmp_path: Path
) -> None:
    arguments = ("--dataset", "small", "--data-dir", data, "--epsilon", str(EPSILON))
    model = str(models / "healthy.keras")
    bounded = (*arguments, "--min-clean", "0.1", "--budget", "1s", *outputs(tmp_path))
    done = check(tmp_path, model, *bounded)
    assert done.returncode == 3, done.stdout + done.stderr
    gates = verdicts(tmp_path)
    assert gates.pop("worst_case") == gates.pop("certified") == "reported"
    assert set(gates.values()) == {"refused"}, "nothing is known of the model"
    assert "No image was judged" in done.stdout
    assert "time for none of the 120 images: give more of it (--budget)" in done.stdout


def test_the_step_of_the_action_checks_and_its_exit_code_is_the_verdict(
    models: Path, data: str, tmp_path: Path
) -> None:
    """What GitHub would run, with the inputs as it hands them on."""
    action = yaml.safe_load((CI / "action.yml").read_text())
    (step,) = [each for each in action["runs"]["steps"] if each["name"] == "Check the model"]
    inputs = {name: each.get("default", "") for name, each in action["inputs"].items()}
    inputs |= {
        "model": str(models / "healthy.keras"),
        "dataset": "small",
        "epsilon": str(EPSILON),
        "min-clean": "0.85",
        "arguments": f"--data-dir {data} --attacks fgsm --no-checks --limit 60",
    }
    variables = {
        name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: inputs[found[1]], text)
        for name, text in step["env"].items()
    }
    assert set(re.findall(r"\binputs\.([a-z-]+)", str(step["env"]))) == set(inputs)
    for minimum, code in (("0.1", 0), ("0.999", 3)):
        environment = {**os.environ, **variables, "GITHUB_ACTION_PATH": str(CI)}
        done = subprocess.run(
            [step["shell"], "-e", "-c", step["run"]],
            cwd=tmp_path,
            env={**environment, "MIN_CLEAN": minimum},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "::notice title=gauntlet check" in done.stdout or code
        assert (tmp_path / "gauntlet-gates.xml").exists()


def test_the_action_finds_gauntlet_and_keeps_the_same_places_whatever_the_verdict(
    tmp_path: Path,
) -> None:
    """No path may have `..`, which GitHub refuses; what was judged is kept after a refusal too."""
    steps = {
        each["name"]: each
        for each in yaml.safe_load((CI / "action.yml").read_text())["runs"]["steps"]
    }
    find, take, *_, keep = steps.values()
    assert take["with"]["path"] == keep["with"]["path"]
    assert take["with"]["key"] == keep["with"]["key"]
    assert keep["if"] == "always()"
    assert ".." not in str(take["with"])
    environment = {
        **os.environ,
        "GITHUB_ACTION_PATH": str(CI),
        "GITHUB_OUTPUT": str(tmp_path / "o"),
    }
    subprocess.run([find["shell"], "-e", "-c", find["run"]], env=environment, check=True)
    outputs = dict(line.split("=") for line in (tmp_path / "o").read_text().splitlines())
    assert outputs["home"] == str(CI.parent)
    assert re.fullmatch("[0-9a-f]{16}", outputs["lock"])


def test_arguments_may_stand_on_many_lines_and_have_quotes(tmp_path: Path) -> None:
    (tmp_path / "gauntlet").write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    (tmp_path / "gauntlet").chmod(0o755)
    lines = "--limit 200\n  --classes 'a b,c'\n\n--pixels 0:255\n"
    for given, more in (
        (lines, "--limit|200|--classes|a b,c|--pixels|0:255|"),
        (" \n", ""),
        ("", ""),
    ):
        done = subprocess.run(
            [str(CI / "check"), "--github"],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "MODEL": "m", "ARGUMENTS": given},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"check|m|{more}--github|"
    broken = {"PATH": os.environ["PATH"], "MODEL": "m", "ARGUMENTS": "--classes 'a"}
    assert subprocess.run([str(CI / "check")], env=broken, check=False).returncode


def test_a_report_is_written_over_nothing_that_is_read(tmp_path: Path) -> None:
    model, old = tmp_path / "m.keras", tmp_path / "old.xml"
    for file in (model, old):
        file.write_text("what was there")
    asked = ["check", str(model), "--epsilon", "0.1", "--min-clean", "0.5"]
    for option in ("--junit", "--sarif", "--json"):
        done = CliRunner().invoke(main, [*asked, option, f"{tmp_path}/./m.keras"])
        assert (done.exit_code, "would be written over" in done.stderr) == (2, True)
    both = str(tmp_path / "both")
    done = CliRunner().invoke(main, [*asked, "--junit", both, "--sarif", both])
    assert (done.exit_code, "would be written over" in done.stderr) == (2, True)
    assert model.read_text() == "what was there"
    done = CliRunner().invoke(main, [*asked[:2], "--junit", str(old)])
    assert done.exit_code == 2
    assert not old.exists(), "nobody takes the report of an earlier check for this one's"


def test_the_template_of_gitlab_has_the_variables_that_the_script_reads() -> None:
    job = yaml.safe_load((CI / "gitlab.yml").read_text())[".gauntlet-check"]
    read = set(re.findall(r"\$\{([A-Z_]+):[-?]", (CI / "check").read_text()))
    assert read < set(job["variables"])
    assert all(
        subprocess.run(["bash", "-n", "-c", line], check=False).returncode == 0
        for line in (*job["before_script"], *job["script"])
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epsilon", "0.1"], "say what the model must reach: --min-clean"),
        (["--epsilon", "0.1", "--min-clean", "0"], "say what the model must reach"),
        (["--min-clean", "0.9"], "say against which change the model must hold: --epsilon"),
        (["--epsilon", "0.1", "--min-clean", "90"], "--min-clean is a share in [0, 1], such as"),
        (["--epsilon", "0.1", "--min-clean", "nan"], "--min-clean is a share in [0, 1]"),
        (["--epsilon", "-1", "--min-clean", "0.9"], "epsilon is a finite number >= 0"),
        (["--epsilon", "8", "--min-clean", "0.9"], "8 of 255 grey levels are 0.0314"),
        (["--epsilon", "0.1", "--min-clean", "0.9", "--budget", "10"], "such as 10m, got '10'"),
        (["--epsilon", "0.1", "--min-clean", "0.9", "--attacks", "cw"], "unknown attack 'cw'"),
        (["--epsilon", "0.1", "--min-clean", "0.9"], "there is no such file or folder"),
        (["--gates", "nothing.toml"], "nothing.toml cannot be read"),
    ],
)
def test_what_is_not_begun(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["check", "model.keras", *arguments])
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


TASK = EvaluationTask(model=Path("m"), output=Path("o"), epsilons=(0.3,))
NOTHING = Minimums(min_clean=None, min_worst_case=None, min_certified=None, gates_file=None)


def reviewed(folder: Path, gates: GatesConfig, **changes: Any) -> Path:
    attack = AttackConfig(names=("fgsm", "pgd:20"), checks=True)
    terms = Terms(
        purpose=Purpose(
            dataset="small",
            class_names=("a", "b", "c"),
            image_shape=SHAPE,
            norm=Norm.LINF,
            epsilon=0.1,
        ),
        policy=dataclasses.replace(
            Policy(gates=gates, attack=attack, test="test", stages=efforts_of(attack.stages)),
            **changes,
        ),
    )
    write_terms(folder / "gates.toml", terms)
    return folder / "gates.toml"


@pytest.mark.parametrize("minimum", ["min_clean", "min_worst_case", "min_certified"])
def test_convergence_is_asked_for_with_a_worst_case(minimum: str) -> None:
    """A fragile model that claims clean accuracy alone is none of those whose number is fake."""
    gates = asked(TASK, dataclasses.replace(NOTHING, **{minimum: 0.5}), frozenset()).gates
    assert gates
    converged = CheckName.ATTACK_HAS_CONVERGED in gates.checks
    assert converged is (minimum == "min_worst_case")
    assert set(CheckName) - set(gates.checks) <= {CheckName.ATTACK_HAS_CONVERGED}


def test_a_file_decides_data_threat_attacks_and_gates(tmp_path: Path) -> None:
    gates = GatesConfig(clean=0.7, worst_case=0.5, checks=(), champion=0.0)
    file = reviewed(tmp_path, gates)
    task = asked(TASK, dataclasses.replace(NOTHING, gates_file=file), frozenset())
    assert (task.dataset, task.split, task.epsilons) == ("small", "test", (0.1,))
    assert (task.attacks, task.gates) == (("fgsm", "pgd:20"), gates)
    stricter = dataclasses.replace(NOTHING, gates_file=file, min_clean=0.8)
    raised = asked(TASK, stricter, frozenset()).gates
    assert raised == dataclasses.replace(gates, clean=0.8)


@pytest.mark.parametrize(
    ("gates", "changes", "wanted", "given", "message"),
    [
        ({"clean": 0.0, "champion": 0.1}, {}, {}, (), "say what the model must reach"),
        ({}, {}, {"min_clean": 0.6}, (), "--min-clean 0.6 asks for less than .*gates.toml, 0.7"),
        ({}, {}, {}, ("epsilons",), "--gates .* decides what --epsilon sets"),
        ({}, {}, {}, ("dataset",), "is for the data set small, --dataset is mnist"),
        ({"transfer": 0.1}, {}, {}, (), "asks for gates.transfer, which only a run measures"),
        ({}, {"stages": {"square": {"queries": 9}}}, {}, (), "asks for more than a check can"),
    ],
    ids=["nothing", "lower", "threat", "data", "transfer", "stages"],
)
def test_what_says_otherwise_than_the_file_is_refused(
    tmp_path: Path,
    gates: dict[str, float],
    changes: dict[str, Any],
    wanted: dict[str, float],
    given: tuple[str, ...],
    message: str,
) -> None:
    config = GatesConfig(**{**vars(OPEN), "clean": 0.7, **gates})
    file = reviewed(tmp_path, config, **changes)
    minimums = dataclasses.replace(NOTHING, gates_file=file, **wanted)
    with pytest.raises(ConfigError, match=message):
        asked(TASK, minimums, frozenset(given))

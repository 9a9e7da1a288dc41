"""What is set when a run is submitted: the first task makes of it what a compilation would."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from gauntlet_kubeflow.compile import compile_pipeline, compiled_graph
from gauntlet_kubeflow.parameters import routes
from gauntlet_kubeflow.parameters.given import parameter_values
from gauntlet_kubeflow.parameters.task import main
from gauntlet_kubeflow.request import Compilation, Volume
from gauntlet_kubeflow.target import Target

from components.changes import Signature, signed
from components.mandate import Mandate
from foundation import code
from foundation.errors import ConfigError
from pipeline.definition.config import override
from pipeline.definition.presets import preset


@pytest.fixture(autouse=True)
def environment_of_a_container() -> Iterator[None]:
    """What the entry point completes in the environment is forgotten after a test."""
    with mock.patch.dict(os.environ):
        yield


def request(*settings: str, **more: Any) -> Compilation:
    config = override(preset("smoke"), settings)
    places = {"image": "i", "pipeline_root": "gs://b/f", "target": Target.VERTEX} | more
    return Compilation(config=config, **places)


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    data = {"data_uri": "gs://b/data", "data_fingerprint": "f0"}
    return dict(compile_pipeline(request("data.span=2", **data))["pipelineSpec"])


def handed_on(spec: dict[str, Any], values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the first task reports for the values of a run."""
    component = spec["components"][routes.TASK]
    outputs = {name: {} for name in component["outputDefinitions"]["parameters"]}
    declared = spec["root"]["inputDefinitions"]["parameters"]
    given = {name: each["defaultValue"] for name, each in declared.items()} | values
    message = {
        "inputs": {"parameterValues": {name: as_double(value) for name, value in given.items()}},
        "outputs": {"parameters": outputs, "outputFile": str(folder / "out" / "o.json")},
    }
    arguments = spec["deploymentSpec"]["executors"]["Parameters_executor"]["container"]["args"]
    ended = main([json.dumps(message) if a == "{{$}}" else a for a in arguments])
    if ended:
        return {"code": ended}
    return dict(json.loads((folder / "out" / "o.json").read_text())["parameterValues"])


def as_double(value: Any) -> Any:
    """A number as platforms give it."""
    return float(value) if isinstance(value, int) else value


def resolved(spec: dict[str, Any], answers: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Every parameter of every task, those of the first task's answers filled in."""
    found = {}
    for task, each in spec["root"]["dag"]["tasks"].items():
        for name, source in each.get("inputs", {}).get("parameters", {}).items():
            answer = source.get("taskOutputParameter", {})
            if answer.get("producerTask") == routes.TASK:
                found[task, name] = answers[answer["outputParameterKey"]]
            elif "runtimeValue" in source:
                found[task, name] = source["runtimeValue"]["constant"]
    return found


def test_the_defaults_are_what_was_compiled(spec: dict[str, Any]) -> None:
    declared = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: each["defaultValue"] for name, each in declared.items()}
    assert defaults["threat_epsilon"] == 0.2
    assert defaults["data_uri"] == "gs://b/data"
    assert {"seed", "trainer_epochs", "gates_worst_case", "data_span"} <= defaults.keys()
    kinds = {name: each["parameterType"] for name, each in declared.items()}
    assert (kinds["seed"], kinds["gates_gap"]) == ("NUMBER_INTEGER", "NUMBER_DOUBLE")
    # Nothing that is a number is an int of Python's that a double could not be.
    assert all(each["isOptional"] for each in declared.values())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"threat_epsilon": 0.125, "seed": 7},
        {"trainer_epochs": 5, "gates_worst_case": 0.5, "gates_champion": 0.01},
        {"data_dataset": "fashion_mnist", "data_span": 3},
    ],
    ids=["none", "epsilon", "gates", "data"],
)
def test_a_run_with_values_is_what_a_compilation_with_them_is(
    spec: dict[str, Any], values: dict[str, Any], tmp_path: Path
) -> None:
    answers = handed_on(spec, values, tmp_path)
    settings = [f"{name.replace('_', '.', 1)}={value}" for name, value in values.items()]
    with_them = request(*["data.span=2", *settings], data_uri="gs://b/data", data_fingerprint="f0")
    expected = resolved(compiled_graph(with_them)["pipelineSpec"], {})
    found = resolved(spec, answers)
    expected.pop(("Data", "artifact_uri"))
    assert found == expected


def test_only_tasks_that_a_value_changes_see_it(spec: dict[str, Any], tmp_path: Path) -> None:
    """So that a platform's cache knows the others again."""
    plain = handed_on(spec, {}, tmp_path)
    gates = handed_on(spec, {"gates_worst_case": 0.5}, tmp_path)
    assert {name for name in plain if plain[name] != gates[name]} == {
        "AnomalyGate__gates",
        "Champion__terms",
        "Evaluator__eval_config",
        "Pusher__custom_config",
    }
    data = handed_on(spec, {"data_fingerprint": "f1"}, tmp_path)
    changed = {name for name in plain if plain[name] != data[name]}
    assert changed == {"TfdsExampleGen__fingerprint"}


def test_whoever_answers_for_another_purpose_is_told_to_champion_and_pusher(
    spec: dict[str, Any], tmp_path: Path
) -> None:
    mandate = Mandate(replace=True, signature=signed('the "clothes"')).to_json()
    plain, given = (
        handed_on(spec, values, tmp_path) for values in ({}, parameter_values(spec, [], mandate))
    )
    changed = {name for name in plain if plain[name] != given[name]}
    assert changed == {"Champion__mandate", "Pusher__custom_config"}
    assert (plain["Champion__mandate"], given["Champion__mandate"]) == ("", mandate)
    assert json.loads(given["Pusher__custom_config"])["mandate"] == mandate


def test_nobody_answers_for_a_run_in_the_name_of_another(spec: dict[str, Any]) -> None:
    forged = Mandate(replace=True, signature=Signature(by="ada", at="now", reason="x")).to_json()
    for name in ("mandate", " mandate "):
        with pytest.raises(ConfigError, match="use --replace or --force, with --reason"):
            parameter_values(spec, [f"{name}={forged}"])


@pytest.mark.parametrize(
    "values",
    [
        {"threat_epsilon": -1.0},
        {"mandate": "because"},
        {"gates_worst_case": 2.0},
        {"seed": 0.5},
        {"data_dataset": "cifar10"},
        {"data_span": 0},
        {"gates_champion": 0.0},
        {"data_fingerprint": ""},
    ],
)
def test_a_wrong_value_fails_in_the_first_task(
    spec: dict[str, Any], values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also one that would be another graph of tasks."""
    answer = handed_on(spec, values, tmp_path)
    assert answer["code"] in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.startswith("gauntlet: ")
    assert not (tmp_path / "out").exists()


def test_an_image_with_other_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = compile_pipeline(request())["pipelineSpec"]
    monkeypatch.setattr(code, "_versions", lambda: "other libraries")
    assert handed_on(spec, {}, tmp_path)["code"] == 2
    assert "i holds another version of this project" in capsys.readouterr().err


def test_own_images_of_other_classes_than_any_known_set() -> None:
    settings = (
        "data.dataset=image_folder/a", "data.classes=2", "data.class_names=cat,dog",
        f"seed={2**32 - 1}",
    )  # fmt: skip
    job = compile_pipeline(request(*settings, data_uri="gs://b/d", data_fingerprint="f"))
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    dataset = tasks["TfdsExampleGen"]["inputs"]["parameters"]["dataset"]
    assert dataset["taskOutputParameter"]["producerTask"] == routes.TASK


def test_a_value_that_reaches_what_is_fixed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a value ever change a parameter that another value did not."""
    with monkeypatch.context() as patch:
        patch.setattr(routes, "perturbed", lambda request: request)
        spec = compile_pipeline(request())["pipelineSpec"]
    assert handed_on(spec, {"threat_epsilon": 0.1}, tmp_path)["code"] == 2
    assert "Trainer_undefended__custom_config, which the compiled" in capsys.readouterr().err


def test_every_task_waits_for_the_first(spec: dict[str, Any]) -> None:
    for name, task in spec["root"]["dag"]["tasks"].items():
        assert (routes.TASK in task.get("dependentTasks", [])) == (name != routes.TASK)


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("threat.epsilon=0.1", {"threat_epsilon": 0.1}),
        ("gates_worst_case=1", {"gates_worst_case": 1.0}),
        ("seed=3", {"seed": 3}),
        ("data_uri=gs://b/c=d", {"data_uri": "gs://b/c=d"}),
    ],
)
def test_values_on_the_command_line(
    spec: dict[str, Any], assignment: str, value: dict[str, Any]
) -> None:
    assert parameter_values(spec, [assignment]) == value


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("threat.epsilon", "name=value, got 'threat.epsilon'"),
        ("threat.norm=l2", "has no parameter 'threat_norm'; it has seed, "),
        ("seed=1.5", "seed is a whole number, got '1.5'"),
        ("threat.epsilon=much", "threat_epsilon is a number, got 'much'"),
        ("threat.epsilon=-1", "epsilon"),
        ("gates.clean=7", "fraction"),
        ("mandate={}", "is no parameter to be set"),
        ("gates.best=0.1", "has no parameter 'gates_best'"),
        ("data_uri=/mnt/data", "nobody fetches it from there"),
    ],
)
def test_a_wrong_value_on_the_command_line(
    spec: dict[str, Any], assignment: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parameter_values(spec, [assignment])


def test_a_store_that_cannot_be_written_ends_the_run_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A new volume is often the root user's; a file in its place is what keeps out even root."""
    volume = Volume(claim="models", path=str(tmp_path / "volume"))
    spec = compile_pipeline(request(target=Target.KFP_V2, volume=volume))
    assert "code" not in handed_on(spec, {}, tmp_path)
    (tmp_path / "volume" / "gauntlet").rmdir()
    (tmp_path / "volume" / "gauntlet").touch()
    assert handed_on(spec, {}, tmp_path)["code"] == 2
    assert f"the store {volume.path}/gauntlet cannot be written by user" in capsys.readouterr().err

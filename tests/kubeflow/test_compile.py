"""The compiled pipelines: for whom, with what, and the same bytes twice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gauntlet_kubeflow.compile import Target, compile_pipeline, write

from foundation.errors import ConfigError
from pipeline.definition.config import override
from pipeline.definition.dag import Places, create_pipeline
from pipeline.definition.presets import preset

NODES = {
    "TfdsExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer.undefended",
    "Trainer.robust",
    "AdversarialExampleGen",
    "ChampionChallenge",
    "Evaluator",
    "ServingCheck",
    "Pusher",
}


@pytest.fixture(scope="module")
def compiled() -> dict[Target, dict[str, Any]]:
    return {
        target: compile_pipeline(preset("tutorial"), target, "registry/gauntlet:1", "gs://b/f")
        for target in Target
    }


def test_vertex_gets_a_job_and_kfp_the_bare_specification(
    compiled: dict[Target, dict[str, Any]],
) -> None:
    job, spec = compiled[Target.VERTEX], compiled[Target.KFP_V2]
    assert job["pipelineSpec"]["schemaVersion"] == "2.0.0"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://b/f/artifacts"
    assert spec["schemaVersion"] == "2.1.0"
    assert "runtimeConfig" not in spec
    assert spec["defaultPipelineRoot"] == "gs://b/f/artifacts"


@pytest.mark.parametrize("target", list(Target))
def test_all_nodes_with_our_image(compiled: dict[Target, dict[str, Any]], target: Target) -> None:
    spec = compiled[target].get("pipelineSpec", compiled[target])
    found = set(spec["root"]["dag"]["tasks"])
    assert {name for name in found if not name.startswith("Champion-")} == NODES
    assert any(name.startswith("Champion-") for name in found) == (target is Target.VERTEX)
    executors = [e for e in spec["deploymentSpec"]["executors"].values() if "container" in e]
    assert {e["container"]["image"] for e in executors} == {"registry/gauntlet:1"}


@pytest.mark.parametrize("target", list(Target))
def test_only_training_and_attack_see_a_gpu(
    compiled: dict[Target, dict[str, Any]], target: Target
) -> None:
    spec = compiled[target].get("pipelineSpec", compiled[target])
    hidden = [{"name": "CUDA_VISIBLE_DEVICES", "value": "-1"}]
    executors = spec["deploymentSpec"]["executors"].items()
    seeing = {
        name for name, e in executors if "container" in e and e["container"].get("env") != hidden
    }
    nodes = ("Trainer.undefended", "Trainer.robust", "AdversarialExampleGen", "ChampionChallenge")
    assert seeing == {f"{node}_executor" for node in nodes}


def test_training_waits_for_the_gate_on_the_data(compiled: dict[Target, dict[str, Any]]) -> None:
    tasks = compiled[Target.KFP_V2]["root"]["dag"]["tasks"]
    assert "AnomalyGate" in tasks["Transform"]["dependentTasks"]
    for trainer in ("Trainer.undefended", "Trainer.robust"):
        assert "Transform" in tasks[trainer]["dependentTasks"]


def test_kfp_accepts_the_specification(compiled: dict[Target, dict[str, Any]]) -> None:
    """Against the schema of the KFP SDK: unknown fields or wrong types are an error."""
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    message = json_format.ParseDict(compiled[Target.KFP_V2], pipeline_spec_pb2.PipelineSpec())
    assert message.pipeline_info.name == "gauntlet"


def test_every_component_class_can_be_imported_in_the_container(
    compiled: dict[Target, dict[str, Any]],
) -> None:
    import importlib

    for executor in compiled[Target.KFP_V2]["deploymentSpec"]["executors"].values():
        arguments = executor["container"]["args"]
        path = arguments[arguments.index("--executor_class_path") + 1]
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_twice_the_same_bytes(
    tmp_path: Path, compiled: dict[Target, dict[str, Any]], suffix: str
) -> None:
    for target in Target:
        again = compile_pipeline(preset("tutorial"), target, "registry/gauntlet:1", "gs://b/f")
        paths = [tmp_path / f"{n}{suffix}" for n in (1, 2)]
        for path, content in zip(paths, (compiled[target], again), strict=True):
            write(content, path)
        assert paths[0].read_bytes() == paths[1].read_bytes()
        loaded = (
            yaml.safe_load(paths[0].read_text())
            if suffix == ".yaml"
            else json.loads(paths[0].read_text())
        )
        assert loaded == compiled[target]


def test_settings_reach_the_compiled_pipeline() -> None:
    assignments = [
        "trainer.epochs=17",
        "threat.epsilon=0.125",
        "attack.suite=autoattack",
        "attack.names=fgsm,square",
        "gates.certified=0.375",
    ]
    config = override(preset("smoke"), assignments)
    tasks = compile_pipeline(config, Target.KFP_V2, "i", "gs://b")["root"]["dag"]["tasks"]

    def parameter(task: str, name: str) -> Any:
        return json.loads(tasks[task]["inputs"]["parameters"][name]["runtimeValue"]["constant"])

    assert parameter("Trainer.robust", "custom_config")["config"]["epochs"] == 17
    assert parameter("AdversarialExampleGen", "threat")["epsilon"] == 0.125
    assert parameter("AdversarialExampleGen", "attack") == {
        "suite": "autoattack",
        "names": ["fgsm", "square"],
        "checks": False,
    }
    (specs,) = parameter("Evaluator", "eval_config")["metrics_specs"]
    (certified,) = (
        metric for metric in specs["metrics"] if '"certified"' in metric.get("config", "")
    )
    (gate,) = certified["per_slice_thresholds"]
    assert gate["threshold"]["value_threshold"] == {"lower_bound": 0.375}


def test_every_task_knows_the_code_of_its_image(compiled: dict[Target, dict[str, Any]]) -> None:
    """Kubeflow's cache sees parameters, and an image by its name only."""
    tasks = compiled[Target.KFP_V2]["root"]["dag"]["tasks"]
    keys = {name: task["inputs"]["parameters"]["code"] for name, task in tasks.items()}
    assert set(keys) == NODES
    assert keys["Evaluator"] != keys["Pusher"]


def test_beam_runs_inside_the_container(compiled: dict[Target, dict[str, Any]]) -> None:
    executors = compiled[Target.KFP_V2]["deploymentSpec"]["executors"].values()
    assert all("--runner=FnApiRunner" in executor["container"]["args"] for executor in executors)


def test_the_undefended_model_does_not_depend_on_the_defence() -> None:
    """So that trying another defence does not train it again."""
    config = override(
        preset("smoke"), ["recipe.multiplier=0.7", "recipe.norm=l2", "trainer.gradient_clip=0.1"]
    )
    one, other = (
        compile_pipeline(c, Target.KFP_V2, "i", "gs://b")["root"]["dag"]["tasks"]
        for c in (preset("smoke"), config)
    )
    assert {name for name in one if one[name] != other[name]} == {"Trainer.robust"}


def test_the_search_feeds_the_robust_model_only() -> None:
    config = override(preset("smoke"), ["tuner.trials=2"])
    tasks = compile_pipeline(config, Target.KFP_V2, "i", "gs://b")["root"]["dag"]["tasks"]
    assert set(tasks) == NODES | {"FrontTuner"}
    found = {name for name, task in tasks.items() if "FrontTuner" in task.get("dependentTasks", [])}
    assert found == {"Trainer.robust"}


def test_a_warm_start_needs_vertex() -> None:
    """Kubeflow Pipelines itself has no resolver of the latest blessed model."""
    config = override(preset("smoke"), ["trainer.warm_start=true"])
    job = compile_pipeline(config, Target.VERTEX, "i", "gs://b")
    assert set(job["pipelineSpec"]["root"]["dag"]["tasks"]) >= NODES | {"Champion-model-resolver"}
    with pytest.raises(
        ConfigError, match=r"trainer\.warm_start .* kfp-v2 cannot look up; compile for vertex"
    ):
        compile_pipeline(config, Target.KFP_V2, "i", "gs://b")


@pytest.mark.parametrize("platform", ["docker", "kubernetes"])
def test_a_real_server_tries_the_model_of_a_local_run_only(platform: str) -> None:
    """TFX cannot compile its InfraValidator for Kubeflow Pipelines v2."""
    config = override(preset("smoke"), [f"serving.platform={platform}", "serving.tag=2.19.0"])
    nodes = {
        node.id: node
        for node in create_pipeline(config, Places(pipeline_root="r", serving="s"), []).components
    }
    spec = json.loads(nodes["InfraValidator"].exec_properties["serving_spec"])
    assert spec["tensorflow_serving"]["tags"] == ["2.19.0"]
    assert {"docker": "local_docker", "kubernetes": "kubernetes"}[platform] in spec
    assert nodes["InfraValidator"] in nodes["ServingCheck"].upstream_nodes
    for target in Target:
        with pytest.raises(ConfigError, match=r"serving\.platform=.* cannot be compiled"):
            compile_pipeline(config, target, "i", "gs://b")


def test_usable_beside_the_kubeflow_sdk(tmp_path: Path) -> None:
    """The SDK owns the import name `kubeflow`; ours is another, so both are there, whoever comes
    first."""
    package = tmp_path / "kubeflow"
    package.mkdir()
    (package / "__init__.py").write_text("name = 'the SDK'")
    code = "import kubeflow, gauntlet_kubeflow; print(kubeflow.name, gauntlet_kubeflow.__doc__[:9])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "the SDK Vertex AI"

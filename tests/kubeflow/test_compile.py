"""The compiled pipelines: for whom, with what, and the same bytes twice."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gauntlet_kubeflow.capabilities import GAPS, Gap
from gauntlet_kubeflow.compile import compile_pipeline, compiled_graph, places_of, write
from gauntlet_kubeflow.entry import code_run_by
from gauntlet_kubeflow.names import check_names, types
from gauntlet_kubeflow.request import Compilation, Volume
from gauntlet_kubeflow.resources import Profile, Resources
from gauntlet_kubeflow.target import Target
from google.cloud import aiplatform_v1 as aiplatform

from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, override
from pipeline.definition.dag import Places, create_pipeline
from pipeline.definition.presets import preset

NODES = {
    "TfdsExampleGen",
    "StatisticsGen",
    "CuratedSchema",
    "ExampleValidator",
    "AnomalyGate",
    "Transform",
    "Trainer-undefended",
    "Trainer-robust",
    "AdversarialExampleGen",
    "Champion",
    "ChampionChallenge",
    "Evaluator",
    "ServingCheck",
    "Pusher",
    "Summary",
    "Verdict",
}
JOB = Profile(
    nodes={
        "Trainer-robust": Resources(
            machine_type="n1-standard-8",
            replicas=3,
            accelerator="NVIDIA_TESLA_T4",
            accelerators=1,
            timeout=7200,
        )
    }
)
NOT_OF_TFX = {"Parameters"}
PLACES = Places(pipeline_root="r", serving="s", spans="a", checkpoints="c")


def request(target: Target, config: RunConfig | None = None, **more: Any) -> Compilation:
    given = {"image": "registry/gauntlet:1", "pipeline_root": "gs://b/f"} | more
    return Compilation(config=config or preset("tutorial"), target=target, **given)


def tasks_of(config: RunConfig, **more: Any) -> dict[str, Any]:
    spec = compile_pipeline(request(Target.KFP_V2, config, **more))
    return dict(spec["root"]["dag"]["tasks"])


@pytest.fixture(scope="module")
def compiled() -> dict[Target, dict[str, Any]]:
    return {target: compile_pipeline(request(target)) for target in Target}


def test_vertex_gets_a_job_and_kfp_the_bare_specification(
    compiled: dict[Target, dict[str, Any]],
) -> None:
    job, spec = compiled[Target.VERTEX], compiled[Target.KFP_V2]
    assert job["pipelineSpec"]["schemaVersion"] == "2.1.0"
    assert job["runtimeConfig"]["gcsOutputDirectory"] == "gs://b/f/artifacts"
    assert spec["schemaVersion"] == "2.1.0"
    assert "runtimeConfig" not in spec
    assert spec["defaultPipelineRoot"] == "gs://b/f/artifacts"


@pytest.mark.parametrize("target", list(Target))
def test_all_nodes_with_our_image(compiled: dict[Target, dict[str, Any]], target: Target) -> None:
    spec = compiled[target].get("pipelineSpec", compiled[target])
    assert set(spec["root"]["dag"]["tasks"]) == NODES | NOT_OF_TFX
    executors = spec["deploymentSpec"]["executors"].values()
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
    nodes = ("Trainer-undefended", "Trainer-robust", "AdversarialExampleGen", "ChampionChallenge")
    assert seeing == {f"{node}_executor" for node in nodes}


def test_training_waits_for_the_gate_on_the_data(compiled: dict[Target, dict[str, Any]]) -> None:
    tasks = compiled[Target.KFP_V2]["root"]["dag"]["tasks"]
    assert "AnomalyGate" in tasks["Transform"]["dependentTasks"]
    for trainer in ("Trainer-undefended", "Trainer-robust"):
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

    executors = compiled[Target.KFP_V2]["deploymentSpec"]["executors"]
    for name in NODES:
        arguments = executors[f"{name}_executor"]["container"]["args"]
        path = arguments[arguments.index("--executor_class_path") + 1]
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name), path


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_twice_the_same_bytes(
    tmp_path: Path, compiled: dict[Target, dict[str, Any]], suffix: str
) -> None:
    for target in Target:
        again = compile_pipeline(request(target))
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
    spec = compiled_graph(request(Target.KFP_V2, config))["pipelineSpec"]

    def parameter(task: str, name: str) -> Any:
        inputs = spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"]
        return json.loads(inputs[name]["runtimeValue"]["constant"])

    assert parameter("Trainer-robust", "custom_config")["config"]["epochs"] == 17
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
    keys = {name: tasks[name]["inputs"]["parameters"]["code"] for name in NODES}
    assert keys["Evaluator"] != keys["Pusher"]


def test_the_shell_that_compiles_is_in_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without that setting would be refused as one of other code."""
    executor = "components.pusher.Executor"
    before = compiled_graph(request(Target.KFP_V2)), code_run_by(executor)
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    assert (compiled_graph(request(Target.KFP_V2)), code_run_by(executor)) == before


def test_beam_runs_inside_the_container(compiled: dict[Target, dict[str, Any]]) -> None:
    executors = compiled[Target.KFP_V2]["deploymentSpec"]["executors"]
    arguments = [executors[f"{name}_executor"]["container"]["args"] for name in NODES]
    assert all("--runner=FnApiRunner" in each for each in arguments)


def test_the_undefended_model_does_not_depend_on_the_defence() -> None:
    """So that trying another defence does not train it again."""
    config = override(
        preset("smoke"), ["recipe.multiplier=0.7", "recipe.norm=l2", "trainer.gradient_clip=0.1"]
    )
    one, other = (
        compiled_graph(request(Target.KFP_V2, c))["pipelineSpec"]["root"]["dag"]["tasks"]
        for c in (preset("smoke"), config)
    )
    assert {name for name in one if one[name] != other[name]} == {"Trainer-robust"}


def test_the_search_feeds_the_robust_model_only() -> None:
    config = override(preset("smoke"), ["tuner.trials=2"])
    tasks = tasks_of(config)
    assert set(tasks) == NODES | NOT_OF_TFX | {"FrontTuner"}
    found = {name for name, task in tasks.items() if "FrontTuner" in task.get("dependentTasks", [])}
    assert found == {"Trainer-robust"}


@pytest.mark.parametrize("target", list(Target))
def test_a_warm_start_begins_with_the_champion(target: Target) -> None:
    config = override(preset("smoke"), ["trainer.warm_start=true"])
    compiled = compile_pipeline(request(target, config))
    tasks = compiled.get("pipelineSpec", compiled)["root"]["dag"]["tasks"]
    begin = {"producerTask": "Champion", "outputParameterKey": "version"}
    for task, name in (("Trainer-robust", "begin"), ("ChampionChallenge", "champion")):
        assert tasks[task]["inputs"]["parameters"][name] == {"taskOutputParameter": begin}
        assert "Champion" in tasks[task]["dependentTasks"]
    assert "begin" not in tasks["Trainer-undefended"]["inputs"]["parameters"]


@pytest.mark.parametrize("platform", ["docker", "kubernetes"])
def test_a_real_server_tries_the_model_of_a_local_run_only(platform: str) -> None:
    """TFX cannot compile its InfraValidator for Kubeflow Pipelines v2."""
    config = override(preset("smoke"), [f"serving.platform={platform}", "serving.tag=2.19.0"])
    nodes = {node.id: node for node in create_pipeline(config, PLACES, []).components}
    spec = json.loads(nodes["InfraValidator"].exec_properties["serving_spec"])
    assert spec["tensorflow_serving"]["tags"] == ["2.19.0"]
    assert {"docker": "local_docker", "kubernetes": "kubernetes"}[platform] in spec
    assert nodes["InfraValidator"] in nodes["ServingCheck"].upstream_nodes
    for target in Target:
        with pytest.raises(ConfigError, match=r"InfraValidator: serving\.platform .*=none"):
            compile_pipeline(request(target, config))


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


def test_only_those_that_look_are_never_cached(compiled: dict[Target, dict[str, Any]]) -> None:
    config = override(preset("smoke"), ["data.span=2"])
    tasks = tasks_of(config, data_uri="gs://b/data")
    uncached = {name for name, task in tasks.items() if not task["cachingOptions"]["enableCache"]}
    assert uncached == {"AnomalyGate", "Champion", "LastSpan", "Pusher"}


def test_every_type_can_be_imported_in_a_container(compiled: dict[Target, dict[str, Any]]) -> None:
    from tfx.orchestration.kubeflow.v2.compiler_utils import TITLE_TO_CLASS_PATH

    found = types(compile_pipeline(request(Target.KFP_V2, preset("smoke"), data_uri="gs://b/d")))
    assert len(found) > 10
    assert found <= TITLE_TO_CLASS_PATH.keys()


@pytest.mark.parametrize(
    ("more", "serving"),
    [
        ({}, "gs://b/f/gauntlet/serving"),
        ({"name": "digits"}, "gs://b/f/digits/serving"),
        ({"store": "gs://c/here/"}, "gs://c/here/serving"),
        ({"store": "/mnt/v/x", "volume": Volume(claim="c", path="/mnt/v")}, "/mnt/v/x/serving"),
        ({"volume": Volume(claim="c", path="/mnt/v")}, "/mnt/v/gauntlet/serving"),
    ],
)
def test_where_models_are_pushed_to(more: dict[str, Any], serving: str) -> None:
    assert places_of(request(Target.KFP_V2, **more)).serving == serving


@pytest.mark.parametrize("root", ["minio://mlpipeline/v2", "s3://b"])
def test_a_store_that_tensorflow_cannot_write_needs_a_volume(root: str) -> None:
    with pytest.raises(ConfigError, match="name a volume with --volume"):
        compile_pipeline(request(Target.KFP_V2, pipeline_root=root))
    volume = Volume(claim="models", path="/mnt/v")
    spec = compile_pipeline(request(Target.KFP_V2, pipeline_root=root, volume=volume))
    told = spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert told.keys() == {f"{name}_executor" for name in NODES | NOT_OF_TFX}
    mount = {"constant": "models", "mountPath": "/mnt/v"}
    assert all(each == {"pvcMount": [mount]} for each in told.values())


def test_each_task_has_its_machine() -> None:
    big = Resources(
        cpu=8, memory="32Gi", accelerator="nvidia.com/gpu", accelerators=2, retries=3, timeout=60
    )
    profile = Profile(nodes={"Trainer-robust": big})
    spec = compile_pipeline(request(Target.KFP_V2, profile=profile))
    executors, tasks = spec["deploymentSpec"]["executors"], spec["root"]["dag"]["tasks"]
    assert executors["Trainer-robust_executor"]["container"]["resources"] == {
        "cpuLimit": 8.0,
        "cpuRequest": 8.0,
        "memoryLimit": 34.359738,
        "memoryRequest": 34.359738,
        "accelerator": {"type": "nvidia.com/gpu", "count": "2"},
    }
    assert tasks["Trainer-robust"]["retryPolicy"]["maxRetryCount"] == 3
    # Without the longest duration Argo tries nothing again.
    policies = [task["retryPolicy"] for task in tasks.values() if "retryPolicy" in task]
    assert all(policy["backoffMaxDuration"] == "604800s" for policy in policies)
    assert executors["Parameters_executor"]["container"]["resources"]["cpuLimit"] == 2
    told = spec["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert told == {"Trainer-robust_executor": {"activeDeadlineSeconds": "60"}}
    misspelt = Profile(nodes={"Trainer-robsut": Resources(cpu=8)})
    with pytest.raises(ConfigError, match="the resources name Trainer-robsut; the tasks are"):
        compile_pipeline(request(Target.KFP_V2, profile=misspelt))
    assert "accelerator" not in executors["Pusher_executor"]["container"]["resources"]
    assert "retryPolicy" not in tasks["Verdict"]  # it fails on purpose


def test_an_image_of_its_own_for_those_that_compute_on_a_gpu() -> None:
    spec = compile_pipeline(request(Target.KFP_V2, gpu_image="registry/gpu:1"))
    executors = spec["deploymentSpec"]["executors"]
    own = {name for name, e in executors.items() if e["container"]["image"] == "registry/gpu:1"}
    computing = ("Trainer-undefended", "Trainer-robust", "AdversarialExampleGen")
    assert own == {f"{task}_executor" for task in (*computing, "ChampionChallenge")}
    for name in own:
        container = executors[name]["container"]
        path = container["args"][container["args"].index("--executor_class_path") + 1]
        assert {"name": "GAUNTLET_CODE", "value": code_run_by(path)} in container["env"]


def test_a_file_without_a_second_document_cannot_hold_a_volume(tmp_path: Path) -> None:
    volume = Volume(claim="models", path="/mnt/v")
    spec = compile_pipeline(request(Target.KFP_V2, volume=volume))
    with pytest.raises(ConfigError, match="which only YAML can hold"):
        write(spec, tmp_path / "pipeline.json")
    write(spec, tmp_path / "pipeline.yaml")
    first, second = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())
    assert "platforms" not in first
    assert set(second) == {"platforms"}


@pytest.mark.parametrize("gap", GAPS, ids=lambda gap: gap.feature)
def test_what_a_target_cannot_do_is_said_when_it_is_compiled(gap: Gap) -> None:
    asked = {
        "serving.platform other than none": {"config": ["serving.platform=docker"]},
        "data.dataset that is a folder of this machine": {"config": ["data.dataset=/images"]},
        "data.span of a data set that is fetched": {"config": ["data.span=2"]},
        "trainer.strategy=tpu": {"config": ["trainer.strategy=tpu"]},
        "trainer.strategy=multi_worker on several machines": {
            "config": ["trainer.strategy=multi_worker"]
        },
        "trainer.strategy=tpu or multi_worker without a training job": {
            "config": ["trainer.strategy=tpu"]
        },
        "a search (tuner.trials) with trainer.strategy=tpu or multi_worker": {
            "config": ["trainer.strategy=tpu", "tuner.trials=2"]
        },
        "a training job (machine_type)": {"profile": JOB},
        "a training job without --project and --region": {"profile": JOB},
        "machine_type of a task that is no Trainer": {
            "profile": Profile(nodes={"Pusher": Resources(machine_type="n1-standard-4")})
        },
        "a volume (--volume)": {"volume": Volume(claim="c", path="/mnt/v"), "store": "gs://b/s"},
        "a store outside gs://": {"store": "/tmp/x"},
        "a store that is neither in gs:// nor in the volume": {
            "store": "/mnt/other",
            "volume": Volume(claim="c", path="/mnt/v"),
        },
        "a pipeline root (--pipeline-root) outside of the stores": {
            "pipeline_root": "hdfs://b",
            "store": "gs://b/s",
        },
        "an accelerator of a task that computes on none": {
            "profile": Profile(
                nodes={"Evaluator": Resources(accelerator="nvidia.com/gpu", accelerators=1)}
            )
        },
        "several machines without trainer.strategy=multi_worker": {
            "profile": JOB,
            "project": "p",
            "region": "r",
        },
        "prepared data (--data-uri) outside of the stores": {"data_uri": "/mnt/data"},
        "a timeout of a node": {"profile": Profile(default=Resources(timeout=60))},
    }[gap.feature]
    config = override(preset("smoke"), asked.pop("config", []))
    for target in gap.targets:
        with pytest.raises(ConfigError, match=re.escape(f"{gap.node}: {gap.feature}")):
            compile_pipeline(request(target, config, **asked))


def test_tfx_cannot_compile_its_infra_validator() -> None:
    """The reason for a row of the table: should it be wrong one day, the row must go."""
    from gauntlet_kubeflow import compile as compiler

    config = override(preset("smoke"), ["serving.platform=docker"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "refuse_what_cannot_run", lambda request: None)
        with pytest.raises(NotImplementedError, match="not supported"):
            compiler.compiled_graph(request(Target.KFP_V2, config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda spec: spec["root"]["dag"]["tasks"].update({"a.b": {}}), "the task 'a.b'"),
        (
            lambda spec: spec["root"]["inputDefinitions"]["parameters"].update({"a.b": {}}),
            "the parameter 'a.b'",
        ),
        (
            lambda spec: spec["components"]["Pusher"]["outputDefinitions"]["artifacts"][
                "pushed_model"
            ]["artifactType"].update({"instanceSchema": "title: gauntlet.Own"}),
            "the artifact type 'gauntlet.Own'",
        ),
        (
            lambda spec: spec["root"]["dag"]["tasks"]["Pusher"]["inputs"]["parameters"].update(
                {"long": "x" * 130_000}
            ),
            "the parameters of Pusher have",
        ),
    ],
    ids=["task", "parameter", "type", "length"],
)
def test_names_that_a_platform_refuses(
    compiled: dict[Target, dict[str, Any]], change: Any, message: str
) -> None:
    spec = copy.deepcopy(compiled[Target.KFP_V2])
    check_names(spec, Target.KFP_V2)
    change(spec)
    with pytest.raises(ConfigError, match=re.escape(message)):
        check_names(spec, Target.KFP_V2)


def test_a_training_job_of_several_machines() -> None:
    config = override(preset("smoke"), ["trainer.strategy=multi_worker"])
    both = Profile(
        nodes=dict.fromkeys(("Trainer-undefended", "Trainer-robust"), *JOB.nodes.values())
    )
    more = {"profile": both, "project": "p", "region": "europe-west4", "service_account": "a@p"}
    job = compile_pipeline(request(Target.VERTEX, config, **more))
    spec = job["pipelineSpec"]
    tasks, executors = spec["root"]["dag"]["tasks"], spec["deploymentSpec"]["executors"]
    source = tasks["Trainer-robust"]["inputs"]["parameters"]["training_job"]
    told = json.loads(source["runtimeValue"]["constant"])
    assert (told["project"], told["region"]) == ("p", "europe-west4")
    # As Vertex AI's own client takes it.
    custom = aiplatform.CustomJobSpec(told["job_spec"])
    chief, others = custom.worker_pool_specs
    assert (chief.replica_count, others.replica_count) == (1, 2)
    for pool in (chief, others):
        assert pool.container_spec.image_uri == "registry/gauntlet:1"
        assert pool.machine_spec.accelerator_type == aiplatform.AcceleratorType.NVIDIA_TESLA_T4
    assert custom.service_account == "a@p"
    assert custom.scheduling.timeout.total_seconds() == 7200
    # The node itself only waits.
    container = executors["Trainer-robust_executor"]["container"]
    assert "accelerator" not in container["resources"]
    path = container["args"][container["args"].index("--executor_class_path") + 1]
    assert path == "components.trainer.JobExecutor"
    assert "retryPolicy" not in tasks["Trainer-robust"]  # its job goes on without it

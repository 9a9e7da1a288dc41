"""Compiles the pipeline with TFX's KubeflowV2DagRunner, and completes what that leaves out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from gauntlet_kubeflow.capabilities import refuse_what_cannot_run
from gauntlet_kubeflow.entry import CODE, COMMAND, Files, code_run_by
from gauntlet_kubeflow.names import check_names, task_name
from gauntlet_kubeflow.parameters.routes import TASK, add_parameters
from gauntlet_kubeflow.request import Compilation, Volume
from gauntlet_kubeflow.resources import GPU_NODES, SMALL, Profile, Resources
from gauntlet_kubeflow.target import Target
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from foundation.environment import CHANGE_NUMBERS, unset
from foundation.errors import ConfigError, RunError
from foundation.events import phase
from foundation.whole import write_text
from pipeline.definition.dag import Places, create_pipeline

TENSORFLOW_WRITES = ("gs://", "/")
"""How a path begins that TensorFlow can write to."""

ALWAYS = ("Champion", "LastSpan", "Pusher")
"""Nodes that look at what is there: no cache may answer for them."""

KEEPS = "AnomalyGate"
"""Node that keeps what it has accepted, where data comes in spans."""

RETRY = {"backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "604800s"}
"""When a task is tried again. Argo counts the longest duration from the first attempt, and takes a
missing one for none at all; Vertex AI caps it at an hour."""

DECIDES = "Verdict"
"""Node that fails on purpose: another attempt would say the same."""


def compile_to_file(order: tuple[Compilation, Path]) -> None:
    """Compile a pipeline and write it into a file."""
    request, output = order
    with phase("compile"):
        write(compile_pipeline(request), output)


def compile_pipeline(request: Compilation) -> dict[str, Any]:
    """The compiled pipeline.

    Returns:
        Vertex AI: a pipeline job (`pipelineSpec`, `runtimeConfig`). KFP v2: the specification, and
        `platforms` with what is said to Kubernetes, where something is.

    Raises:
        ConfigError: the target cannot run what the configuration asks for, or a name is none there.
    """
    job = compiled_graph(request)
    spec = job["pipelineSpec"]
    check_names(spec, request.target)  # while all that is long stands in the file
    add_parameters(request, spec, lambda changed: compiled_graph(changed)["pipelineSpec"])
    _equip_parameters(request, spec)
    check_names(spec, request.target)
    _check_profile(request.profile, spec)
    if request.target is Target.VERTEX:
        return job
    platforms = _platforms(spec, request.volume, request.profile)
    return dict(spec, **({"platforms": platforms} if platforms else {}))


@unset(CHANGE_NUMBERS)
def compiled_graph(request: Compilation) -> dict[str, Any]:
    """A pipeline job with everything except parameters that can be set when it is submitted."""
    refuse_what_cannot_run(request)
    places = places_of(request)
    # Beam runs inside each node's container. Its default runner may try to download another one,
    # and without an image TFX would build a package for remote workers in each node.
    beam_pipeline_args = ["--runner=FnApiRunner", f"--sdk_container_image={request.image}"]
    pipeline = create_pipeline(request.config, places, beam_pipeline_args)
    for node in pipeline.components:
        node.with_id(task_name(node.id))
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=request.image,
            default_commands=command_of(request.target),
            use_pipeline_spec_2_1=True,
        )
    )
    job: dict[str, Any] = runner.run(pipeline, write_out=False)
    spec = job["pipelineSpec"]
    spec["defaultPipelineRoot"] = places.pipeline_root
    _mend_answers(spec["root"]["dag"]["tasks"])
    _look_always(spec["root"]["dag"]["tasks"])
    for name, executor in spec["deploymentSpec"]["executors"].items():
        task = name.removesuffix("_executor")
        if "container" in executor:  # an importer has none
            _equip(executor["container"], spec["root"]["dag"]["tasks"][task], request, task)
    return job


def places_of(request: Compilation) -> Places:
    """Where the nodes read and write.

    Raises:
        ConfigError: what outlives a run would lie where TensorFlow cannot write.
    """
    root = request.pipeline_root.rstrip("/")
    volume = request.volume.path if request.volume else root
    store = (request.store or f"{volume}/{request.name}").rstrip("/")
    if not store.startswith(TENSORFLOW_WRITES):
        raise ConfigError(
            f"pushed models, accepted statistics and checkpoints cannot lie in {store}: TensorFlow "
            "writes to gs:// and to folders that its container mounts; name a volume with --volume "
            "CLAIM:/PATH, or a place with --store"
        )
    return Places(
        pipeline_root=f"{root}/artifacts",
        serving=f"{store}/serving",
        spans=f"{store}/spans",
        checkpoints=f"{store}/checkpoints",
        name=request.name,
        data_uri=request.data_uri,
        data_fingerprint=request.data_fingerprint,
        training_jobs={
            task.removeprefix("Trainer-"): machine.training_job(
                request.gpu_image or request.image,
                request.project,
                request.region,
                request.service_account,
            )
            for task, machine in request.training_jobs.items()
        },
        fail_on_refusal=request.fail_on_refusal,
        mandate=request.mandate,
    )


def command_of(target: Target) -> list[str]:
    """What a container runs: on Kubeflow with the files where its launcher has put them, on Vertex
    AI, which has no launcher, at their URIs."""
    where = Files.LAUNCHER if target is Target.KFP_V2 else Files.URI
    return [*COMMAND, f"--files={where}"]


def _mend_answers(tasks: dict[str, Any]) -> None:
    """TFX (kubeflow/v2/step_builder.py) names the producer of a value with an ending that its task
    has not."""
    for task in tasks.values():
        for source in task.get("inputs", {}).get("parameters", {}).values():
            if answer := source.get("taskOutputParameter"):
                answer["producerTask"] = answer["producerTask"].removesuffix("_task")


def _look_always(tasks: dict[str, Any]) -> None:
    """A platform has no run id among the parameters, by which the local cache knows these."""
    for name in (*ALWAYS, *([KEEPS] if "LastSpan" in tasks else [])):
        if name in tasks:
            tasks[name]["cachingOptions"] = {"enableCache": False}


def _equip(
    container: dict[str, Any], task: dict[str, Any], request: Compilation, name: str
) -> None:
    """Give a container its machine, and the accelerator to those only that compute on one:
    TensorFlow in any other node would take what the node's machine shows it, and keep it."""
    own = request.profile.of(name)
    if name in request.training_jobs:
        own = replace(SMALL, retries=0)  # its job goes on without it, and a second one would join
    if resources := _container_resources(own):
        container["resources"] = resources
    if own.retries and name != DECIDES:
        task["retryPolicy"] = RETRY | {"maxRetryCount": own.retries}
    if name in GPU_NODES:
        container["image"] = request.gpu_image or request.image
    environment = {}
    if name not in GPU_NODES or name in request.training_jobs:
        environment["CUDA_VISIBLE_DEVICES"] = "-1"
    if name in GPU_NODES and request.gpu_image:  # Parameters looks into the other image only
        arguments = container["args"]
        executor = arguments[arguments.index("--executor_class_path") + 1]
        environment[CODE] = code_run_by(executor)
    if environment:
        container["env"] = [{"name": key, "value": text} for key, text in environment.items()]


def _equip_parameters(request: Compilation, spec: dict[str, Any]) -> None:
    task = spec["root"]["dag"]["tasks"][TASK]
    container = spec["deploymentSpec"]["executors"][f"{TASK}_executor"]["container"]
    _equip(container, task, request, TASK)


def _check_profile(profile: Profile, spec: dict[str, Any]) -> None:
    """Raises ConfigError where the profile has a machine for a task that there is not."""
    tasks = spec["root"]["dag"]["tasks"].keys()
    if unknown := profile.nodes.keys() - tasks - Profile().nodes.keys():
        raise ConfigError(
            f"the resources name {', '.join(sorted(unknown))}; the tasks are "
            f"{', '.join(sorted(tasks))}"
        )


def _container_resources(own: Resources) -> dict[str, Any]:
    """What Kubeflow and Vertex AI read: processors, and memory in 10^9 bytes."""
    resources: dict[str, Any] = {}
    if own.cpu:
        resources |= {"cpuLimit": own.cpu, "cpuRequest": own.cpu}
    if own.memory:
        gigabytes = memory_gigabytes(own.memory)
        resources |= {"memoryLimit": gigabytes, "memoryRequest": gigabytes}
    if own.accelerators:
        resources["accelerator"] = {"type": own.accelerator, "count": str(own.accelerators)}
    return resources


def memory_gigabytes(quantity: str) -> float:
    """A quantity of memory in 10^9 bytes, as the specification has it."""
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    units |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
    number = quantity.rstrip("KMGTik")
    return round(float(number) * units.get(quantity.removeprefix(number), 1.0) / 1e9, 6)


def _platforms(spec: dict[str, Any], volume: Volume | None, profile: Profile) -> dict[str, Any]:
    """What only Kubernetes is told: the volume of all containers, and their time."""
    executors = {}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        told: dict[str, Any] = {}
        timeout = profile.of(name.removesuffix("_executor")).timeout
        if "container" in executor and volume:
            told["pvcMount"] = [{"constant": volume.claim, "mountPath": volume.path}]
        if "container" in executor and timeout:
            told["activeDeadlineSeconds"] = str(timeout)
        if told:
            executors[name] = told
    return {"kubernetes": {"deploymentSpec": {"executors": executors}}} if executors else {}


def write(compiled: dict[str, Any], output: Path) -> None:
    """Write as YAML where the file's name says so, otherwise as JSON; keys sorted, so that the same
    pipeline gives the same bytes. KFP reads `platforms` from a second document of YAML."""
    platforms = compiled.get("platforms")
    spec = {name: value for name, value in compiled.items() if name != "platforms"}
    if output.suffix in (".yaml", ".yml"):
        documents = [spec, {"platforms": platforms}] if platforms else [spec]
        text = yaml.safe_dump_all(documents, sort_keys=True)
    elif platforms:
        raise ConfigError(
            f"{output}: a pipeline with a volume or a timeout has two documents, which only YAML "
            "can hold; name a file .yaml"
        )
    else:
        text = json.dumps(compiled, sort_keys=True, indent=2, allow_nan=False) + "\n"
    try:
        write_text(output, text)
    except OSError as error:
        raise RunError(f"{output} cannot be written: {error.strerror}") from error

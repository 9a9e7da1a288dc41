"""Compiles the pipeline with TFX's KubeflowV2DagRunner. Submission is not done here."""

import json
from pathlib import Path
from typing import Any

import yaml
from gauntlet_kubeflow.entry import COMMAND, Files
from gauntlet_kubeflow.request import Compilation
from gauntlet_kubeflow.target import Target
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

from foundation.errors import ConfigError
from foundation.events import phase
from pipeline.definition.config import RunConfig, ServingPlatform
from pipeline.definition.dag import Places, create_pipeline

GPU_NODES = ("Trainer-", "FrontTuner", "AdversarialExampleGen", "ChampionChallenge")
"""Prefixes of the nodes that compute on a GPU, where their container is given one: both Trainers,
the search before them, and the two nodes that attack."""


TENSORFLOW_READS = ("gs://", "/")

UNKEPT_CHECKPOINTS = "/tmp/gauntlet/checkpoints"
"""Where a training keeps its state when the store of the artifacts is out of its reach: a container
that is started again begins anew."""


def compile_to_file(request: Compilation) -> None:
    """Compile a pipeline and write it."""
    with phase("compile"):
        compiled = compile_pipeline(
            request.config, request.target, request.image, request.pipeline_root, request.serving
        )
        write(compiled, request.output)


def compile_pipeline(
    config: RunConfig, target: Target, image: str, pipeline_root: str, serving: str = ""
) -> dict[str, Any]:
    """The compiled pipeline.

    Args:
        config: what to compute.
        target: platform that runs it.
        image: container image with this project, for all nodes.
        pipeline_root: folder of the artifacts, in a store of the platform.
        serving: folder of pushed models; by default in `pipeline_root`.

    Returns:
        Vertex AI: a pipeline job (`pipelineSpec`, `runtimeConfig`). KFP v2: a pipeline
        specification with schema version 2.1.0.

    Raises:
        ConfigError: the target cannot run what the configuration asks for.
    """
    if config.trainer.warm_start and target is Target.KFP_V2:
        raise ConfigError(
            f"trainer.warm_start begins with the latest blessed model, which {target} cannot look "
            f"up; compile for {Target.VERTEX}, or set trainer.warm_start=false"
        )
    if config.serving.platform is not ServingPlatform.NONE:
        raise ConfigError(
            f"serving.platform={config.serving.platform} starts TFX's InfraValidator, which cannot "
            f"be compiled for {target}; set serving.platform=none"
        )
    places = places_of(target, pipeline_root.rstrip("/"), serving)
    # Beam runs inside each node's container. Its default runner may try to download another one,
    # and without an image TFX would build a package for remote workers in each node.
    beam_pipeline_args = ["--runner=FnApiRunner", f"--sdk_container_image={image}"]
    pipeline = create_pipeline(config, places, beam_pipeline_args)
    for node in pipeline.components:
        node.with_id(task_name(node.id))
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=image,
            default_commands=command_of(target),
            use_pipeline_spec_2_1=target is Target.KFP_V2,
        )
    )
    job: dict[str, Any] = runner.run(pipeline, write_out=False)
    _hide_gpus(job["pipelineSpec"]["deploymentSpec"]["executors"])
    return (
        job
        if target is Target.VERTEX
        else dict(job["pipelineSpec"], defaultPipelineRoot=places.pipeline_root)
    )


def places_of(target: Target, root: str, serving: str) -> Places:
    """Where the nodes read and write.

    Raises:
        ConfigError: pushed models would lie where TensorFlow cannot write.
    """
    reachable = root.startswith(TENSORFLOW_READS)
    serving = serving or f"{root}/serving"
    if not serving.startswith(TENSORFLOW_READS):
        raise ConfigError(
            f"{target} cannot push models to {serving}: TensorFlow writes to gs:// and to folders "
            "that its container mounts; name one with --serving"
        )
    return Places(
        pipeline_root=f"{root}/artifacts",
        serving=serving,
        checkpoints="" if reachable else UNKEPT_CHECKPOINTS,
        knows_blessings=target is not Target.KFP_V2,
    )


def task_name(node: str) -> str:
    """The name of a node's task: Argo, which runs those of Kubeflow, takes no dot."""
    return node.replace(".", "-")


def command_of(target: Target) -> list[str]:
    """What a container runs: on Kubeflow with the files where its launcher has put them, on Vertex
    AI, which has no launcher, at their URIs."""
    where = Files.LAUNCHER if target is Target.KFP_V2 else Files.URI
    return [*COMMAND, f"--files={where}"]


def _hide_gpus(executors: dict[str, Any]) -> None:
    """TensorFlow in any other node would take what the node's machine shows it, and keep it."""
    for name, executor in executors.items():
        if "container" in executor and not name.startswith(GPU_NODES):  # a resolver has none
            executor["container"]["env"] = [{"name": "CUDA_VISIBLE_DEVICES", "value": "-1"}]


def write(compiled: dict[str, Any], output: Path) -> None:
    """Write as YAML where the file's name says so, otherwise as JSON; keys sorted, so that the same
    pipeline gives the same bytes."""
    if output.suffix in (".yaml", ".yml"):
        text = yaml.safe_dump(compiled, sort_keys=True)
    else:
        text = json.dumps(compiled, sort_keys=True, indent=2) + "\n"
    output.write_text(text)

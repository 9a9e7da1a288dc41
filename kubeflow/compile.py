"""Compiles the pipeline with TFX's KubeflowV2DagRunner. Submission is not done here."""

import json
from pathlib import Path
from typing import Any

import yaml
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

GPU_NODES = ("Trainer.", "FrontTuner", "AdversarialExampleGen", "ChampionChallenge")
"""Prefixes of the nodes that compute on a GPU, where their container is given one: both Trainers,
the search before them, and the two nodes that attack."""


def compile_to_file(request: Compilation) -> None:
    """Compile a pipeline and write it."""
    with phase("compile"):
        compiled = compile_pipeline(
            request.config, request.target, request.image, request.pipeline_root
        )
        write(compiled, request.output)


def compile_pipeline(
    config: RunConfig, target: Target, image: str, pipeline_root: str
) -> dict[str, Any]:
    """The compiled pipeline.

    Args:
        config: what to compute.
        target: platform that runs it.
        image: container image with this project, for all nodes.
        pipeline_root: folder of artifacts and pushed models that all containers can reach.

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
    root = pipeline_root.rstrip("/")
    places = Places(
        pipeline_root=f"{root}/artifacts",
        serving=f"{root}/serving",
        knows_blessings=target is not Target.KFP_V2,
    )
    # Beam runs inside each node's container. Its default runner may try to download another one,
    # and without an image TFX would build a package for remote workers in each node.
    beam_pipeline_args = ["--runner=FnApiRunner", f"--sdk_container_image={image}"]
    pipeline = create_pipeline(config, places, beam_pipeline_args)
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=image, use_pipeline_spec_2_1=target is Target.KFP_V2
        )
    )
    job: dict[str, Any] = runner.run(pipeline, write_out=False)
    _hide_gpus(job["pipelineSpec"]["deploymentSpec"]["executors"])
    return (
        job
        if target is Target.VERTEX
        else dict(job["pipelineSpec"], defaultPipelineRoot=places.pipeline_root)
    )


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

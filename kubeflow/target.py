"""What can be asked of the compiler; read without TFX."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.definition.config import RunConfig


class Target(StrEnum):
    """Vertex AI takes a pipeline job, open-source Kubeflow Pipelines v2 the bare specification."""

    VERTEX = "vertex"
    KFP_V2 = "kfp-v2"


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A pipeline to write into a file.

    config: what to compute.
    image: container image with this project, for all nodes.
    pipeline_root: folder of artifacts and pushed models that all containers can reach.
    output: file to write, YAML where its name says so, otherwise JSON.
    """

    config: RunConfig
    target: Target
    image: str
    pipeline_root: str
    output: Path

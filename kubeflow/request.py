"""What is asked of the compiler; read without TFX."""

from dataclasses import dataclass
from pathlib import Path

from gauntlet_kubeflow.target import Target

from pipeline.definition.config import RunConfig


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

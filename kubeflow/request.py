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
    pipeline_root: folder of the artifacts, in a store of the platform.
    serving: folder of pushed models; '' for one in `pipeline_root`.
    output: file to write, YAML where its name says so, otherwise JSON.
    """

    config: RunConfig
    target: Target
    image: str
    pipeline_root: str
    serving: str
    output: Path

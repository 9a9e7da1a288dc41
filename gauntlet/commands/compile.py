"""`gauntlet compile`: the pipeline as a file for Vertex AI or Kubeflow Pipelines v2."""

import shutil
import tempfile
from pathlib import Path

import click
from gauntlet_kubeflow.target import Target

from foundation.errors import ConfigError
from gauntlet.options import settings_options
from gauntlet.parameters import OUTPUT_FILE, Choices


@click.command
@settings_options
@click.option("--target", type=Choices(Target), required=True, help="Where the pipeline shall run.")
@click.option(
    "--image",
    required=True,
    help="Container image with this project, built from kubeflow/Dockerfile.",
)
@click.option("--output", type=OUTPUT_FILE, required=True, help="File to write (.json or .yaml).")
@click.option(
    "--pipeline-root",
    required=True,
    metavar="gs://BUCKET/FOLDER",
    help="Where the pipeline keeps its artifacts: your bucket and folder; on Kubeflow also minio:// "
    "or s3://.",
)
@click.option(
    "--serving",
    default="",
    metavar="gs://BUCKET/FOLDER",
    help="Where pushed models go: gs://, or a folder that all containers mount. Default: a folder in "
    "the pipeline root.",
)
def compile(
    preset: str,
    assignments: tuple[str, ...],
    target: Target,
    image: str,
    output: Path,
    pipeline_root: str,
    serving: str,
) -> None:
    """Compile the same pipeline for Vertex AI or Kubeflow Pipelines v2.

    \b
      gauntlet compile --target kfp-v2 --image IMAGE --pipeline-root gs://BUCKET/FOLDER \\
        --output pipeline.yaml

    Vertex AI gets a pipeline job, open-source KFP v2 the bare pipeline specification, schema 2.1.0.
    Compiling twice gives the same bytes.
    """
    from gauntlet_kubeflow.request import Compilation
    from rich.console import Console
    from rich.markup import escape

    from components.datasets.image_folder import is_folder
    from gauntlet.configuration import refuse_span
    from gauntlet.work import call_with
    from pipeline.definition.config import override
    from pipeline.definition.presets import preset as named_preset
    from pipeline.root.root import LOG

    for option, text in (("image", image), ("pipeline-root", pipeline_root)):
        if not text.strip():
            raise ConfigError(f"--{option} is empty")
    if "://" not in pipeline_root and not pipeline_root.startswith("/"):
        raise ConfigError(
            "--pipeline-root is an address such as gs://BUCKET/FOLDER, or an absolute path that "
            f"all containers mount; got {pipeline_root}"
        )
    config = override(named_preset(preset), assignments)
    if is_folder(config.data.dataset):
        raise ConfigError(
            f"data.dataset={config.data.dataset} is a folder on this machine, which nodes of a "
            "cluster cannot read; compile for a named tfds data set"
        )
    refuse_span(config.data)
    request = Compilation(
        config=config,
        target=target,
        image=image,
        pipeline_root=pipeline_root,
        serving=serving,
        output=output,
    )
    console = Console()
    log = Path(tempfile.mkdtemp(prefix="gauntlet-compile-")) / LOG
    call_with("TFX", "gauntlet_kubeflow.compile:compile_to_file", request, log, console)
    shutil.rmtree(log.parent)  # after a failure it stays, the message names it
    console.print(escape(f"wrote {output}"), highlight=False, soft_wrap=True)
    if target is Target.KFP_V2 and config.gates.champion:
        console.print(
            "[yellow]Note:[/] Kubeflow Pipelines v2 cannot look up the latest blessed model: there "
            "is no champion gate",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

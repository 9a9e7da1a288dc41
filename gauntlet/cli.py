"""`gauntlet`: the commands and their options.

Parsing and `--help` import neither TensorFlow nor TFX. The work happens in a child process
(`gauntlet.child`), whose noise goes to a log and whose progress comes back as events.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gauntlet-tfx")
def main() -> None:
    """Train an image classifier, attack it, and ship it only if it survives.

    \b
    Start here:
      gauntlet run                     the NSL tutorial on real MNIST, gated
      gauntlet run --preset smoke      the same pipeline on a few thousand images
      gauntlet compile --target kfp-v2 --image IMAGE --output pipeline.yaml
    """


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """--preset and --set, the same for every command that builds the pipeline."""
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        help="Change one setting, such as trainer.epochs=2 or threat.epsilon=0.3; repeatable. Lists are "
        "written with commas. A wrong name lists all settings.",
    )(command)
    return click.option("--preset", default="tutorial", show_default=True, help="Named configuration to start from.")(
        command
    )


@main.command()
@_common
@click.option(
    "--root",
    type=click.Path(),  # as text: a Path would make one slash of the two in gs://
    default="runs",
    show_default=True,
    help="Folder of metadata, artifacts, results and pushed models. Runs on one root share TFX's cache.",
)
@click.option(
    "--data-dir",
    type=click.Path(),
    default=None,
    help="A prepared tfds folder, or a folder with the four archives. Default: tfds's own, filled on first use.",
)
@click.option("--orchestrator", type=click.Choice(["local", "beam"]), default="local", show_default=True)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write summary.json here."
)
def run(
    preset: str,
    assignments: tuple[str, ...],
    root: str,
    data_dir: str | None,
    orchestrator: str,
    json_file: Path | None,
) -> None:
    """Run the whole pipeline: ingest, validate, train, attack, evaluate, push or refuse.

    Exit code: 0 pushed, 3 refused by a gate, 2 wrong usage, 1 failure.
    """
    from gauntlet.run import run as run_command

    sys.exit(run_command(preset, assignments, root, data_dir, orchestrator, json_file))


@main.command()
@_common
@click.option("--target", type=click.Choice(["vertex", "kfp-v2"]), required=True, help="Where the pipeline shall run.")
@click.option("--image", required=True, help="Container image with this project, built from kubeflow/Dockerfile.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="File to write (.json or .yaml).")
@click.option(
    "--pipeline-root",
    default="gs://YOUR-BUCKET/gauntlet",
    show_default=True,
    help="Where the pipeline keeps artifacts and pushed models: your bucket and folder.",
)
def compile(
    target: str, image: str, output: Path, pipeline_root: str, preset: str, assignments: tuple[str, ...]
) -> None:
    """Compile the same pipeline for Vertex AI or Kubeflow Pipelines v2.

    Vertex AI gets a pipeline job, open-source KFP v2 the bare pipeline specification, schema 2.1.0.
    Compiling twice gives the same bytes.
    """
    from gauntlet.compile import compile as compile_command

    sys.exit(compile_command(target, image, output, pipeline_root, preset, assignments))

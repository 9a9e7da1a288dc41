"""`gauntlet`: the commands and their options.

Parsing and `--help` import neither TensorFlow nor TFX. The work happens in a child process
(`foundation.process`), whose noise goes to a log and whose progress comes back as events.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gauntlet.start import check_packages


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gauntlet-tfx")
def main() -> None:
    """Train an image classifier, attack it, and ship it only if it survives.

    \b
    Start here:
      gauntlet run                     train a robust model on real MNIST, attack it, push it
      gauntlet run --preset smoke      the same pipeline on a few thousand images
      gauntlet gates                   what a model must reach to be pushed
      gauntlet evaluate MODEL          attack and certify any model, yours included
      gauntlet compile --target kfp-v2 --image IMAGE --output pipeline.yaml
    """
    check_packages()


def _root(command: Callable[..., None]) -> Callable[..., None]:
    """--root, the same for every command about a pipeline that has run."""
    return click.option(
        "--root",
        type=click.Path(),
        default="runs",
        show_default=True,
        help="Root of the pipeline, as for `gauntlet run`.",
    )(command)


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
    return click.option(
        "--preset",
        default="robust",
        show_default=True,
        help="Named configuration to start from: robust (epsilon 0.2), record (epsilon 0.3), fashion (Fashion-MNIST, "
        "epsilon 0.1), tutorial (NSL as shipped), smoke (a few thousand images, a minute).",
    )(command)


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
@click.option(
    "--tune",
    "trials",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="First search the recipe's hyper-parameters with N short trainings on the validation split (tuner.trials).",
)
@click.option(
    "--span",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Of a folder of spans (span-1, span-2, ...) given as data.dataset take this one. Default: the newest.",
)
@click.option(
    "--orchestrator", type=click.Choice(["local", "beam"]), default="local", show_default=True
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write summary.json here.",
)
def run(
    preset: str,
    assignments: tuple[str, ...],
    root: str,
    data_dir: str | None,
    trials: int | None,
    span: int | None,
    orchestrator: str,
    json_file: Path | None,
) -> None:
    """Run the whole pipeline: ingest, validate, train, attack, evaluate, push or refuse.

    Exit code: 0 pushed, 3 refused by a gate, 2 wrong usage, 1 failure.
    """
    from gauntlet.run import run as run_command

    if trials is not None:
        assignments = (*assignments, f"tuner.trials={trials}")
    if span is not None:
        assignments = (*assignments, f"data.span={span}")
    sys.exit(run_command(preset, assignments, root, data_dir, orchestrator, json_file))


@main.command()
@click.argument("model", type=click.Path())
@click.option(
    "--suite",
    "suite_name",
    type=click.Choice(["fast", "autoattack"]),
    default="fast",
    show_default=True,
    help="fast: minutes, what a pipeline run affords. autoattack: the published standard suite, full strength.",
)
@click.option(
    "--attacks",
    metavar="A,B",
    default=None,
    help="These attacks in place of the suite's own, in this order: fgsm, pgd, pgd-margin, pgd-dlr, apgd-ce, apgd-t, "
    "fab-t, square.",
)
@click.option("--norm", type=click.Choice(["linf", "l2"]), default="linf", show_default=True)
@click.option(
    "--epsilon",
    "epsilons",
    type=float,
    multiple=True,
    metavar="E",
    help="Radius of the ball, pixels in [0, 1]; repeat it for the robustness curve. Default: 0.2 (linf), 2.0 (l2).",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=None,
    help="Only the first N images. Default: all.",
)
@click.option(
    "--split", default="test", show_default=True, help="A tfds split, or a part such as test[:500]."
)
@click.option(
    "--dataset", default="mnist", show_default=True, help="A tfds data set of labelled images."
)
@click.option("--data-dir", type=click.Path(), default=None, help="As for `gauntlet run`.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of the attacks.",
)
@click.option(
    "--transfer-from",
    "sources",
    type=click.Path(),
    multiple=True,
    metavar="MODEL",
    help="Another model; attacks against it are tried on this one too. Repeatable.",
)
@click.option(
    "--checks/--no-checks",
    default=True,
    show_default=True,
    help="Look for signs that a number is fake.",
)
@click.option(
    "--corruptions", is_flag=True, help="Also report accuracy on the fifteen MNIST-C families."
)
@click.option(
    "--output",
    type=click.Path(),
    default="runs/evaluations",
    show_default=True,
    help="Folder of verdicts on every image, curves and results. An interrupted evaluation goes on from there.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write results.json here.",
)
def evaluate(**options: Any) -> None:
    """Attack and certify MODEL: clean, worst-case and certified accuracy, with honesty checks.

    MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a .keras
    or .h5 file. It takes images in [0, 1] and gives logits, or probabilities.

    \b
      gauntlet evaluate runs/serving
      gauntlet evaluate my_model.keras --epsilon 0.1 --epsilon 0.2 --epsilon 0.3
      gauntlet evaluate runs/serving --suite autoattack --json results.json

    Every image is proven, broken, or left open: the true robust accuracy lies between certified and
        worst case.
    """
    from gauntlet.evaluate import evaluate as evaluate_command

    sys.exit(evaluate_command(**options))


@main.command()
@_common
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write the gates here.",
)
def gates(preset: str, assignments: tuple[str, ...], json_file: Path | None) -> None:
    """Show the gates: what a model must reach to be pushed.

    \b
      gauntlet gates --preset record
      gauntlet gates --set gates.worst_case=0.95 --json gates.json
    """
    from gauntlet.gates import gates as gates_command

    sys.exit(gates_command(preset, assignments, json_file))


@main.command()
@_root
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write the list here.",
)
def models(root: str, json_file: Path | None) -> None:
    """List the pushed versions with their numbers; the newest is served."""
    from gauntlet.production import models as models_command

    sys.exit(models_command(root, json_file))


@main.command()
@_root
@click.argument("version", required=False)
@click.option("--reason", default="", help="Why; it stands in the metadata and in every listing.")
def rollback(root: str, version: str | None, reason: str) -> None:
    """Serve VERSION again. Default: the newest one of an earlier model whose blessing is in force.

    It comes back as a new version, so a server that watches the folder takes it. The models after
    it lose their blessing: the next candidate is compared with the one that is served.
    """
    from gauntlet.production import rollback as rollback_command

    sys.exit(rollback_command(root, version, reason))


@main.command()
@_root
@click.argument("run_id", required=False)
@click.option("--force", "forced", is_flag=True, help="Yes, against the gates.")
@click.option("--reason", default="", help="Why; it stands in the metadata and in every listing.")
def bless(root: str, run_id: str | None, forced: bool, reason: str) -> None:
    """Push the model of a refused run, in an emergency. Default: of the latest run.

    \b
      gauntlet bless --force --reason "the served model fails on new scanners; this one is the
      lesser evil"
    """
    from gauntlet.production import bless as bless_command

    sys.exit(bless_command(root, run_id, forced, reason))


@main.command()
@_root
@click.argument("images", nargs=-1, required=True, type=click.Path(), metavar="IMAGE...")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path),
    default=None,
    help="Also write the answers here.",
)
def predict(root: str, images: tuple[str, ...], json_file: Path | None) -> None:
    """Classify PNG files with the served model."""
    from gauntlet.production import predict as predict_command

    sys.exit(predict_command(root, images, json_file))


@main.command()
@_common
@click.option(
    "--target",
    type=click.Choice(["vertex", "kfp-v2"]),
    required=True,
    help="Where the pipeline shall run.",
)
@click.option(
    "--image",
    required=True,
    help="Container image with this project, built from kubeflow/Dockerfile.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write (.json or .yaml).",
)
@click.option(
    "--pipeline-root",
    default="gs://YOUR-BUCKET/gauntlet",
    show_default=True,
    help="Where the pipeline keeps artifacts and pushed models: your bucket and folder.",
)
def compile(
    target: str,
    image: str,
    output: Path,
    pipeline_root: str,
    preset: str,
    assignments: tuple[str, ...],
) -> None:
    """Compile the same pipeline for Vertex AI or Kubeflow Pipelines v2.

    Vertex AI gets a pipeline job, open-source KFP v2 the bare pipeline specification, schema 2.1.0.
    Compiling twice gives the same bytes.
    """
    from gauntlet.compile import compile as compile_command

    sys.exit(compile_command(target, image, output, pipeline_root, preset, assignments))

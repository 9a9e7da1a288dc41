"""`gauntlet`: the commands and their options.

Parsing and `--help` import neither TensorFlow nor TFX. The work happens in a child process
(`gauntlet.child`), whose noise goes to a log and whose progress comes back as events.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="gauntlet-tfx")
def main() -> None:
    """Train an image classifier, attack it, and ship it only if it survives.

    \b
    Start here:
      gauntlet run                     train a robust model on real MNIST, attack it, push it
      gauntlet run --preset smoke      the same pipeline on a few thousand images
      gauntlet evaluate MODEL          attack and certify any model, yours included
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
@click.option("--orchestrator", type=click.Choice(["local", "beam"]), default="local", show_default=True)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write summary.json here."
)
def run(
    preset: str,
    assignments: tuple[str, ...],
    root: str,
    data_dir: str | None,
    trials: int | None,
    orchestrator: str,
    json_file: Path | None,
) -> None:
    """Run the whole pipeline: ingest, validate, train, attack, evaluate, push or refuse.

    Exit code: 0 pushed, 3 refused by a gate, 2 wrong usage, 1 failure.
    """
    from gauntlet.run import run as run_command

    if trials is not None:
        assignments = (*assignments, f"tuner.trials={trials}")
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
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Only the first N images. Default: all.")
@click.option("--split", default="test", show_default=True, help="A tfds split, or a part such as test[:500].")
@click.option("--dataset", default="mnist", show_default=True, help="A tfds data set of labelled images.")
@click.option("--data-dir", type=click.Path(), default=None, help="As for `gauntlet run`.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the attacks.")
@click.option(
    "--transfer-from",
    "sources",
    type=click.Path(),
    multiple=True,
    metavar="MODEL",
    help="Another model; attacks against it are tried on this one too. Repeatable.",
)
@click.option("--checks/--no-checks", default=True, show_default=True, help="Look for signs that a number is fake.")
@click.option("--corruptions", is_flag=True, help="Also report accuracy on the fifteen MNIST-C families.")
@click.option(
    "--output",
    type=click.Path(),
    default="runs/evaluations",
    show_default=True,
    help="Folder of verdicts on every image, curves and results. An interrupted evaluation goes on from there.",
)
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), default=None, help="Also write results.json here."
)
def evaluate(**options: Any) -> None:
    """Attack and certify MODEL: clean, worst-case and certified accuracy, with honesty checks.

    MODEL is a SavedModel folder, a folder of numbered versions (the newest is taken), or a .keras or .h5 file. It
    takes images in [0, 1] and gives logits, or probabilities.

    \b
      gauntlet evaluate runs/serving
      gauntlet evaluate my_model.keras --epsilon 0.1 --epsilon 0.2 --epsilon 0.3
      gauntlet evaluate runs/serving --suite autoattack --json results.json

    Every image is proven, broken, or left open: the true robust accuracy lies between certified and worst case.
    """
    from gauntlet.evaluate import evaluate as evaluate_command

    sys.exit(evaluate_command(**options))


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

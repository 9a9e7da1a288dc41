"""The options that say which model is judged, on what, and by which attacks: those of `evaluate`
and of `check`."""

from collections.abc import Callable
from pathlib import Path

import click

from gauntlet.options import DEFAULT_ROOT
from gauntlet.parameters import ATTACKS, LOCAL_PATH, NAMES, PLAIN_FOLDER, SIZE, Choices
from pipeline.root.root import Root
from robustness.config import AttackName, Norm
from robustness.suites import SuiteName
from trainer.models.pixels import Pixels

Command = Callable[..., int | None]


def model_options(command: Command) -> Command:
    """MODEL and the options with the names of the fields of `EvaluationTask`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


OPTIONS = (
    click.argument("model", type=LOCAL_PATH),
    click.option(
        "--suite",
        type=Choices(SuiteName),
        default=SuiteName.FAST.value,
        show_default=True,
        help="fast: bounds and quick attacks, minutes. autoattack: the published standard suite, "
        "full strength.",
    ),
    click.option(
        "--attacks",
        type=ATTACKS,
        metavar="A,B",
        default=(),
        help="These attacks in place of the suite's own, in this order: "
        f"{', '.join(AttackName)}. Each tries as hard as the page on evaluating says; pgd:100x5 "
        "names 100 steps and 5 restarts.",
    ),
    click.option(
        "--norm",
        type=Choices(Norm),
        default=Norm.LINF.value,
        show_default=True,
        help="How the size of a perturbation is measured over all pixels of an image.",
    ),
    click.option(
        "--limit", type=click.IntRange(min=1), help="Only the first N images. Default: all."
    ),
    click.option(
        "--split",
        default="test",
        show_default=True,
        help="A tfds split, or a part such as test[:500].",
    ),
    click.option(
        "--dataset",
        default="mnist",
        show_default=True,
        help="A tfds data set of labelled images, or a folder of images such as ./pets.",
    ),
    click.option(
        "--resize",
        type=SIZE,
        metavar="H,W",
        help="Bring the images of a folder to this height and width, as `gauntlet prepare` does.",
    ),
    click.option("--data-dir", type=PLAIN_FOLDER, help="As for `gauntlet run`."),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Seed of the attacks.",
    ),
    click.option(
        "--transfer-from",
        "sources",
        type=LOCAL_PATH,
        multiple=True,
        metavar="MODEL",
        help="Another model; attacks against it are tried on this one too. Repeatable.",
    ),
    click.option(
        "--signature",
        default="",
        metavar="NAME[:OUTPUT]",
        help="Signature of a SavedModel, and the output that holds the logits; :OUTPUT where the "
        "format has no signatures. Default: serving_default, and there logits.",
    ),
    click.option(
        "--pixels",
        type=Choices(Pixels),
        default=Pixels.UNIT.value,
        show_default=True,
        help="What the model takes for black and white. Epsilon stays in [0, 1].",
    ),
    click.option(
        "--classes",
        type=NAMES,
        metavar="A,B",
        default=(),
        help="Names of all the model's classes in the order of its outputs, where it is not the "
        "data's.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        help="Images that are attacked at once. Default: what fits into 1 GB.",
    ),
    click.option(
        "--trust",
        is_flag=True,
        help="Run code that lies in the model's file (Lambda layers, custom classes, operations "
        "that do more than compute and keep nothing), in the sandbox all the same.",
    ),
    click.option(
        "--checks/--no-checks",
        default=True,
        show_default=True,
        help="Look for signs that a number is fake.",
    ),
    click.option(
        "--output",
        type=LOCAL_PATH,
        default=str(Root(Path(DEFAULT_ROOT)).evaluations),
        show_default=True,
        help="Folder of verdicts on every image, curves and results. An interrupted evaluation "
        "goes on from there.",
    ),
)
